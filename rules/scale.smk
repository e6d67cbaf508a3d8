"""The reference scale of field gradients: DFT of known crystals beside their measured couplings.

`snakemake label_crystals` computes the DFT (needs GPAW); its result ships, so that the scale itself is made in seconds.
"""

SCALE = config["reference_scale"]


rule prepare_crystals:
    input:
        code=code("prepare_crystals"),
        sites=SCALE["sites"],
        structures=sorted(map(str, Path(SCALE["sites"]).parent.glob("structures/*.cif"))),
    output:
        f"{RESULTS}/reference_scale/crystals.extxyz",
    log:
        f"{RESULTS}/logs/prepare_crystals.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare_crystals.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        compounds=flags("reference_scale", compounds="compounds"),
    shell:
        "python {input.code[0]} {input.sites} {params.compounds} --out {output} > {log} 2>&1"


use rule label_snapshot as label_crystal with:
    input:
        code=code("label_snapshot"),
        pool=rules.prepare_crystals.output,
        datasets=expand(rules.make_paw_dataset.output, element=SCALE["valence_electrons"]),
    output:
        f"{RESULTS}/reference_scale/frames/{{frame}}.extxyz",
    log:
        f"{RESULTS}/logs/label_crystal_{{frame}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/label_crystal_{{frame}}.tsv"
    resources:
        mem_mb=4000,
        runtime=600,
    params:
        flags=lambda wildcards: " ".join(
            [
                flags("dft", functional="functional", mesh="mesh", setups="setups"),
                flags("reference_scale", cutoff_ev="cutoff_eV", k_length="k_length_A"),
                # Frames come in pairs: as published, and to be relaxed.
                flags("reference_scale", relax="relax_eV_per_A") if int(wildcards.frame) % 2 else "",
            ]
        ),
        skip="--skip-failed",  # the scale is made of those that are there
        text=lambda wildcards: f"{RESULTS}/logs/gpaw_crystal_{wildcards.frame}.txt",


use rule gather_labels as label_crystals with:
    input:
        code=code("gather_labels"),
        frames=expand(rules.label_crystal.output, frame=range(2 * len(SCALE["compounds"]))),
    output:
        f"{RESULTS}/reference_scale/labelled.extxyz",
    log:
        f"{RESULTS}/logs/label_crystals.log",
    benchmark:
        f"{RESULTS}/benchmarks/label_crystals.tsv"
    params:
        # Where symmetry leaves nothing to relax, both geometries are one.
        flags="--copies",


rule reference_scale:
    input:
        code=code("fit_reference_scale"),
        sites=SCALE["sites"],
        crystals=SCALE.get("labelled", rules.label_crystals.output[0]),
    output:
        table=f"{RESULTS}/reference_scale/table.csv",
        scale=f"{RESULTS}/reference_scale/scale.json",
    log:
        f"{RESULTS}/logs/reference_scale.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference_scale.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        compounds=flags("reference_scale", compounds="compounds"),
    shell:
        "python {input.code[0]} {input.sites} {input.crystals} {params.compounds} --out {output.table}"
        " --scale {output.scale} > {log} 2>&1"


rule plot_scale:
    input:
        code=code("plot_scale"),
        table=rules.reference_scale.output.table,
    output:
        pdf=f"{RESULTS}/reference_scale/scale.pdf",
        png=report(f"{RESULTS}/reference_scale/scale.png", caption="../report/scale.rst", category="Figures"),
    log:
        f"{RESULTS}/logs/plot_scale.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_scale.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
