"""Figures, drawn from tidy tables alone: this study's own (results/<study>) or the ones that ship (published).

And the page that shows the study's own.
"""


rule figure:
    input:
        code=lambda wildcards: code(f"plot_{wildcards.figure}"),
        tables=figure_tables,
        literature=config["material"]["literature"],
        measured=lambda wildcards: MEASURED_CURVES.get(wildcards.figure, []),
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
        compare=lambda wildcards: (
            f"{flags('material', literature='literature', material='name', phase='phase')} {LITERATURE_FLAGS[wildcards.figure]}"
            if wildcards.figure in LITERATURE_FLAGS
            else ""
        ),
        measured=lambda wildcards: (
            f"--measured {shlex.join(MEASURED_CURVES[wildcards.figure])}"
            if wildcards.figure in MEASURED_CURVES
            else ""
        ),
        intervals=lambda wildcards: (
            flags("observables", intervals="intervals") if wildcards.figure in WITH_INTERVALS else ""
        ),
    shell:
        "python {input.code[0]} {input.tables} {params.compare} {params.intervals} {params.measured}"
        " --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"


rule page:
    input:
        code=code("make_page"),
        template=f"{REPORT}/page.html",
        style=f"{REPORT}/page.css",
        introduction=f"{REPORT}/workflow.rst",
        caption=f"{REPORT}/agreement.rst",
        agreement=f"{RESULTS}/tables/agreement.csv",
        figures=[path for figure in page_figures() for path in figure],
        config=f"{RESULTS}/config.json",
        dataset=config["material"]["dataset"],
        structure=config["material"]["structure"],
        literature=config["material"]["literature"],
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/page.log",
    benchmark:
        f"{RESULTS}/benchmarks/page.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        figures=" ".join(f"--figure {' '.join(map(shlex.quote, figure))}" for figure in page_figures()),
    shell:
        "python {input.code[0]} --agreement {input.agreement} --agreement-caption {input.caption}"
        " --introduction {input.introduction} {params.figures} --config {input.config} --dataset {input.dataset}"
        " --structure {input.structure} --literature {input.literature} --template {input.template} --out {output}"
        " > {log} 2>&1"
