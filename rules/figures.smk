"""Figures, drawn from tidy tables alone: this study's own (results/<study>) or the ones that ship (published)."""


def figure_tables(wildcards):
    """Tables of a figure, under the root that the figure is asked for."""
    published = wildcards.root == f"results/published/{config['study']}"
    folder = PUBLISHED if published else f"{wildcards.root}/tables"
    return [f"{folder}/{table}.csv" for table in FIGURE_TABLES[wildcards.figure]]


LITERATURE_FLAGS = {
    "rates": f"--mark-above {config['md']['rates']['mark_above_K']:g}",
    "diffusion": "",
}


rule figure:
    input:
        code=lambda wildcards: code(f"plot_{wildcards.figure}"),
        tables=figure_tables,
        literature=config["material"]["literature"],
    output:
        pdf="{root}/figures/{figure}.pdf",
        png=report("{root}/figures/{figure}.png", caption="../report/{figure}.rst", category="Figures"),
    wildcard_constraints:
        root="|".join([RESULTS, f"results/published/{config['study']}"]),
        figure="|".join(FIGURES),
    log:
        "{root}/logs/figure_{figure}.log",
    benchmark:
        "{root}/benchmarks/figure_{figure}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        "../envs/figures.yaml"
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
