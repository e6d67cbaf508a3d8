"""First-principles labels of a pool of snapshots: what `snakemake dft` asks for, where the config has a section dft."""

DFT = config["dft"]
# What the shell says where GPAW is not there; the rest of the study does without.
NEEDS_GPAW = (
    "command -v gpaw > /dev/null || {{ echo 'error: this rule needs GPAW, which is not installed: apt-get install gpaw"
    " (Debian, Ubuntu), or run Snakemake with --software-deployment-method conda (envs/dft.yaml)' | tee {log} >&2;"
    " exit 1; }}; "
)


rule make_paw_dataset:
    output:
        f"{RESULTS}/dft/paw/{{element}}.{DFT['setups']}.{DFT['functional']}",
    log:
        f"{RESULTS}/logs/make_paw_dataset_{{element}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_paw_dataset_{{element}}.tsv"
    conda:
        "../envs/dft.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        electrons=lambda wildcards: DFT["valence_electrons"][wildcards.element],
        functional=DFT["functional"],
        setups=DFT["setups"],
        folder=subpath(output[0], parent=True),
    shell:
        NEEDS_GPAW
        + "(cd {params.folder} && gpaw dataset {wildcards.element} -e {params.electrons} -f {params.functional} -s -w"
        " -t {params.setups}) > {log} 2>&1"


rule label_snapshot:
    input:
        code=code("label_snapshot"),
        pool=DFT["pool"],
        datasets=expand(rules.make_paw_dataset.output, element=DFT["valence_electrons"]),
    output:
        f"{RESULTS}/dft/frames/{{frame}}.extxyz",
    log:
        f"{RESULTS}/logs/label_snapshot_{{frame}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/label_snapshot_{{frame}}.tsv"
    conda:
        "../envs/dft.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        flags=flags("dft", functional="functional", cutoff_ev="cutoff_eV", k_length="k_length_A", setups="setups"),
        skip="--skip-failed" if DFT["skip_failed"] else "",
        folder=lambda wildcards, input: os.path.dirname(input.datasets[0]),
        text=lambda wildcards: f"{RESULTS}/logs/gpaw_{wildcards.frame}.txt",
    shell:
        NEEDS_GPAW
        + "OMP_NUM_THREADS=1 gpaw python -- {input.code[0]} {input.pool} --frame {wildcards.frame} {params.flags}"
        " --datasets {params.folder} {params.skip} --text {params.text} --out {output} > {log} 2>&1"


rule gather_labels:
    input:
        code=code("gather_labels"),
        frames=expand(rules.label_snapshot.output, frame=range(frames_in(DFT["pool"]))),
    output:
        f"{RESULTS}/dft/labelled.extxyz",
    log:
        f"{RESULTS}/logs/gather_labels.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_labels.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.frames} --out {output} > {log} 2>&1"
