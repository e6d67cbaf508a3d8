"""Figures, drawn from tidy tables alone: this study's own (results/<study>) or the ones that ship (published)."""


rule figure:
    input:
        code=lambda wildcards: code(f"plot_{wildcards.figure}"),
        tables=figure_tables,
        literature=config["material"]["literature"],
    output:
        pdf="{root}/figures/{figure}.pdf",
        png=report("{root}/figures/{figure}.png", caption="../report/figure.rst", category="Figures"),
    log:
        "{root}/logs/figure_{figure}.log",
    benchmark:
        "{root}/benchmarks/figure_{figure}.tsv"
    wildcard_constraints:
        root="|".join([RESULTS, f"results/published/{config['study']}"]),
        figure="|".join(FIGURES),
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        compare=lambda wildcards, input: (
            f"--literature {input.literature} {flags('material', material='name', phase='phase')}"
            f" {LITERATURE_FLAGS[wildcards.figure]}"
            if wildcards.figure in LITERATURE_FLAGS
            else ""
        ),
    shell:
        "python {input.code[0]} {input.tables} {params.compare} --out-pdf {output.pdf} --out-png {output.png}"
        " > {log} 2>&1"
