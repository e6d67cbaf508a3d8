"""Is the committee's spread as large as its errors? `snakemake uncertainty`. No part of the study itself: for each of the
committee's folds it trains a committee that never saw it.
"""

UNCERTAINTY = f"{RESULTS}/uncertainty"


use rule train_tensors as train_without_fold with:
    input:
        code=code("train_tensors"),
        dataset=rules.ingest.output,
    output:
        config=f"{UNCERTAINTY}/without_{{fold}}/member_{{member}}/config.json",
        state=f"{UNCERTAINTY}/without_{{fold}}/member_{{member}}/state.pt",
    log:
        f"{RESULTS}/logs/train_without_fold_{{fold}}_{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_without_fold_{{fold}}_{{member}}.tsv"
    wildcard_constraints:
        fold="[0-9]+",
    params:
        folder=subpath(output.config, parent=True),
        resume=lambda wildcards: resume("train_without_fold", wildcards.fold, wildcards.member),
        start=lambda wildcards: f"--leave-out {wildcards.fold}",


rule judge_uncertainty:
    input:
        code=code("judge_uncertainty"),
        dataset=rules.ingest.output,
        states=expand(rules.train_without_fold.output.state, fold=MEMBERS, member=MEMBERS),
    output:
        atoms=f"{UNCERTAINTY}/atoms.csv",
        coverage=f"{UNCERTAINTY}/coverage.csv",
    log:
        f"{RESULTS}/logs/judge_uncertainty.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge_uncertainty.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        folders=expand(f"{UNCERTAINTY}/without_{{fold}}", fold=MEMBERS),
        flags=f"{flags('tensor_model', seed='seed')} {flags('material', isotope='isotope')}",
    shell:
        "python {input.code[0]} {input.dataset} --models {params.folders} {params.flags} --out-atoms {output.atoms}"
        " --out-coverage {output.coverage} > {log} 2>&1"


rule plot_uncertainty:
    input:
        code=code("plot_uncertainty"),
        table=rules.judge_uncertainty.output.atoms,
    output:
        pdf=f"{UNCERTAINTY}/uncertainty.pdf",
        png=f"{UNCERTAINTY}/uncertainty.png",
    log:
        f"{RESULTS}/logs/plot_uncertainty.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_uncertainty.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
