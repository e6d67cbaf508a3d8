"""First-principles labels of a pool of snapshots: what `snakemake dft` asks for, where the config has a section dft."""

DFT = config["dft"]
# The reference scale may ask for further elements; where both name one, common.smk has seen that they agree.
VALENCE_ELECTRONS = {**config.get("reference_scale", {}).get("valence_electrons", {}), **DFT["valence_electrons"]}
# What the shell says where GPAW is not there; the rest of the study does without.
NEEDS_GPAW = (
    "command -v gpaw > /dev/null || {{ echo 'error: this rule needs GPAW, which is not installed: apt-get install gpaw"
    " (Debian, Ubuntu), or run Snakemake with --software-deployment-method conda (envs/dft.yaml)' | tee {log} >&2;"
    " exit 1; }}; "
)

LEVEL = flags(
    "dft", functional="functional", cutoff_ev="cutoff_eV", k_length="k_length_A", mesh="mesh", setups="setups"
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
        recipe=lambda wildcards: paw_recipe(wildcards.element, VALENCE_ELECTRONS),
        functional=DFT["functional"],
        setups=DFT["setups"],
        folder=subpath(output[0], parent=True),
    shell:
        NEEDS_GPAW
        + "(cd {params.folder} && gpaw dataset {wildcards.element} {params.recipe} -f {params.functional} -s -w"
        " -t {params.setups}) > {log} 2>&1"


rule label_snapshot:
    input:
        code=code("label_snapshot"),
        # A pool that is added to leaves the labels valid that are there; gather_labels.py checks that they still fit.
        pool=ancient(DFT["pool"]),
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
        flags=LEVEL,
        skip="--skip-failed" if DFT["skip_failed"] else "",
        folder=lambda wildcards, input: os.path.dirname(input.datasets[0]),
        frame=lambda wildcards: wildcards.frame,
        text=lambda wildcards: f"{RESULTS}/logs/gpaw_{wildcards.frame}.txt",
    shell:
        NEEDS_GPAW
        + "OMP_NUM_THREADS=1 gpaw python -- {input.code[0]} {input.pool} --frame {params.frame} {params.flags}"
        " --datasets {params.folder} {params.skip} --text {params.text} --out {output} > {log} 2>&1"


rule gather_labels:
    input:
        code=code("gather_labels"),
        frames=expand(rules.label_snapshot.output, frame=range(count_frames(DFT["pool"]))),
        pool=DFT["pool"],
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
    params:
        flags=lambda wildcards, input: f"--pool {input.pool}",
    shell:
        "python {input.code[0]} {input.frames} {params.flags} --out {output} > {log} 2>&1"


if "convergence" in DFT:
    CONVERGENCE = DFT["convergence"]
    # One series of cut-offs at the study's k length, one of k lengths at its cut-off.
    LEVELS = [
        *((cutoff, DFT["k_length_A"]) for cutoff in CONVERGENCE["cutoffs_eV"]),
        *((DFT["cutoff_eV"], length) for length in CONVERGENCE["k_lengths_A"]),
    ]

    use rule label_snapshot as label_for_convergence with:
        input:
            code=code("label_snapshot"),
            pool=DFT["pool"],
            datasets=expand(rules.make_paw_dataset.output, element=DFT["valence_electrons"]),
        output:
            f"{RESULTS}/dft/convergence/{{cutoff}}eV_{{length}}A.extxyz",
        log:
            f"{RESULTS}/logs/label_for_convergence_{{cutoff}}eV_{{length}}A.log",
        benchmark:
            f"{RESULTS}/benchmarks/label_for_convergence_{{cutoff}}eV_{{length}}A.tsv"
        wildcard_constraints:
            cutoff="[0-9.]+",
            length="[0-9.]+",
        params:
            flags=lambda wildcards: (
                f"{flags('dft', functional='functional', mesh='mesh', setups='setups')} --cutoff-ev {wildcards.cutoff}"
                f" --k-length {wildcards.length}"
            ),
            skip="",
            frame=CONVERGENCE["frame"],
            text=lambda wildcards: f"{RESULTS}/logs/gpaw_{wildcards.cutoff}eV_{wildcards.length}A.txt",

    rule convergence_table:
        input:
            code=code("convergence_table"),
            frames=[
                f"{RESULTS}/dft/convergence/{cutoff:g}eV_{length:g}A.extxyz"
                for cutoff, length in dict.fromkeys(LEVELS)
            ],
        output:
            f"{RESULTS}/dft/convergence.csv",
        log:
            f"{RESULTS}/logs/convergence_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/convergence_table.tsv"
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            flags=flags("dft", cutoff_ev="cutoff_eV", k_length="k_length_A"),
        shell:
            "python {input.code[0]} {input.frames} {params.flags} --out {output} > {log} 2>&1"
