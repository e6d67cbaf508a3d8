"""Labelled snapshots: ingest, dataset card, NMR parameters of every atom; the merged configuration."""


rule record_config:
    output:
        f"{RESULTS}/config.json",
    log:
        f"{RESULTS}/logs/record_config.log",
    localrule: True
    conda:
        "../envs/base.yaml"
    params:
        config=json.dumps(config, indent=1),
    shell:
        "printf '%s\\n' {params.config:q} > {output} 2> {log}"


rule ingest:
    input:
        code=code("ingest"),
        dataset=config["material"]["dataset"],
        # Rows of other files change it; what it says of this one is checked whenever the job runs.
        registry=ancient("resources/registry.csv"),
    output:
        f"{RESULTS}/data/dataset.extxyz",
    log:
        f"{RESULTS}/logs/ingest.log",
    benchmark:
        f"{RESULTS}/benchmarks/ingest.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.dataset} --out {output} --registry {input.registry} > {log} 2>&1"


POTENTIAL_DATASET = rules.ingest.output

if "snapshots" in config["potential"]:

    use rule ingest as ingest_for_potential with:
        input:
            code=code("ingest"),
            dataset=[config["material"]["dataset"], *config["potential"]["snapshots"]],
            registry=ancient("resources/registry.csv"),
        output:
            f"{RESULTS}/data/potential.extxyz",
        log:
            f"{RESULTS}/logs/ingest_for_potential.log",
        benchmark:
            f"{RESULTS}/benchmarks/ingest_for_potential.tsv"

    POTENTIAL_DATASET = rules.ingest_for_potential.output


rule dataset_card:
    input:
        code=code("dataset_card"),
        dataset=rules.ingest.output,
    output:
        card=report(f"{RESULTS}/data/CARD.md", caption="../report/dataset.rst", category="Data"),
        table=f"{RESULTS}/tables/dataset_histograms.csv",
    log:
        f"{RESULTS}/logs/dataset_card.log",
    benchmark:
        f"{RESULTS}/benchmarks/dataset_card.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags("material", mobile="mobile", neighbour="neighbour"),
        level=config["material"]["level_of_theory"],
        drawn=config["material"]["drawn"],
    shell:
        "python {input.code[0]} {input.dataset} --out-card {output.card} --out-table {output.table} {params.flags}"
        " --level-of-theory {params.level:q} --drawn {params.drawn:q} > {log} 2>&1"


rule nmr_parameters:
    input:
        code=code("nmr_parameters"),
        dataset=rules.ingest.output,
    output:
        f"{RESULTS}/data/nmr_parameters.csv",
    log:
        f"{RESULTS}/logs/nmr_parameters.log",
    benchmark:
        f"{RESULTS}/benchmarks/nmr_parameters.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        isotope=config["material"]["isotope"],
    shell:
        "python {input.code[0]} {input.dataset} --isotopes {params.isotope} --out {output} > {log} 2>&1"
