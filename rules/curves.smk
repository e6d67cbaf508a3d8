"""Learning curves of tensor and scalar models: `snakemake curves`. No part of the study itself: it takes an hour."""

CURVES = config["learning_curves"]


rule curve_point:
    input:
        code=code("curve_point"),
        dataset=rules.ingest.output,
    output:
        f"{RESULTS}/curves/{{kind}}_{{size}}_{{repeat}}.csv",
    log:
        f"{RESULTS}/logs/curve_point_{{kind}}_{{size}}_{{repeat}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/curve_point_{{kind}}_{{size}}_{{repeat}}.tsv"
    wildcard_constraints:
        kind="tensor|invariants|coupling",
        size="[0-9]+",
        repeat="[0-9]+",
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        resume=lambda wildcards: resume("curve_point", wildcards.kind, wildcards.size, wildcards.repeat),
        isotope=config["material"]["isotope"],
        repeats=CURVES["repeats"],
        flags=TENSOR_FLAGS,
    shell:
        "python {input.code[0]} {input.dataset} --kind {wildcards.kind} --size {wildcards.size}"
        " --member {wildcards.repeat} --repeats {params.repeats} --isotope {params.isotope} {params.flags}"
        " --resume {params.resume} --threads {threads} --out {output} > {log} 2>&1"


rule curve_table:
    input:
        code=code("gather_tables"),
        tables=expand(
            rules.curve_point.output,
            kind=["tensor", "invariants", "coupling"],
            size=[*CURVES["sizes"], 0],
            repeat=range(CURVES["repeats"]),
        ),
    output:
        f"{RESULTS}/curves/curves.csv",
    log:
        f"{RESULTS}/logs/curve_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/curve_table.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.tables} --out {output} > {log} 2>&1"


rule plot_curves:
    input:
        code=code("plot_curves"),
        table=rules.curve_table.output,
    output:
        pdf=f"{RESULTS}/curves/curves.pdf",
        png=f"{RESULTS}/curves/curves.png",
    log:
        f"{RESULTS}/logs/plot_curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_curves.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
