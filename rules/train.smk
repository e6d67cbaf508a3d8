"""Learning from the snapshots: a committee of tensor models, and one of potentials."""

TENSOR_FLAGS = flags(
    "tensor_model",
    seed="seed",
    backbone="backbone",
    harmonics="harmonics",
    cutoff="cutoff_A",
    features="features",
    interactions="interactions",
    radial="radial",
    epochs="epochs",
    batch_size="batch_size",
    learning_rate="learning_rate",
    weight_decay="weight_decay",
    ema_decay="ema_decay",
    device="device",
)


rule train_tensors:
    input:
        code=code("train_tensors"),
        dataset=rules.ingest.output,
        start=start_model,
    output:
        config=f"{RESULTS}/tensor_model/member_{{member}}/config.json",
        state=f"{RESULTS}/tensor_model/member_{{member}}/state.pt",
    log:
        f"{RESULTS}/logs/train_tensors_{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_tensors_{{member}}.tsv"
    priority: 10
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        folder=subpath(output.config, parent=True),
        resume=lambda wildcards: resume("train_tensors", wildcards.member),
        element=config["material"]["mobile"],
        flags=f"{flags('tensor_model', members='members', patience='patience')} {TENSOR_FLAGS}",
        start=lambda wildcards, input: (
            f"--start-from {shlex.quote(os.path.dirname(input.start[0]))}" if input.start else ""
        ),
    shell:
        "python {input.code[0]} {input.dataset} --out {params.folder} --resume {params.resume}"
        " --member {wildcards.member} --element {params.element} {params.flags} {params.start} --threads {threads} > {log} 2>&1"


SHIELDING_MODEL = []

if config["tensor_model"]["shieldings"]:

    use rule train_tensors as train_shieldings with:
        input:
            code=code("train_tensors"),
            dataset=rules.ingest.output,
        output:
            config=f"{RESULTS}/shielding_model/member_{{member}}/config.json",
            state=f"{RESULTS}/shielding_model/member_{{member}}/state.pt",
        log:
            f"{RESULTS}/logs/train_shieldings_{{member}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_shieldings_{{member}}.tsv"
        params:
            folder=subpath(output.config, parent=True),
            resume=lambda wildcards: resume("train_shieldings", wildcards.member),
            element=config["material"]["mobile"],
            flags=f"--quantity ms {flags('tensor_model', members='members', patience='patience')} {TENSOR_FLAGS}",
            start="",

    SHIELDING_MODEL = [*expand(rules.train_shieldings.output, member=MEMBERS)]

    rule evaluate_shieldings:
        input:
            code=code("evaluate_shieldings"),
            dataset=rules.ingest.output,
            committee=SHIELDING_MODEL,
        output:
            f"{RESULTS}/tables/shielding_metrics.csv",
        log:
            f"{RESULTS}/logs/evaluate_shieldings.log",
        benchmark:
            f"{RESULTS}/benchmarks/evaluate_shieldings.tsv"
        conda:
            "../envs/ml.yaml"
        threads: 1
        resources:
            mem_mb=3000,
            runtime=30,
        params:
            folder=lambda wildcards, input: os.path.dirname(os.path.dirname(input.committee[0])),
            element=config["material"]["mobile"],
        shell:
            "python {input.code[0]} {input.dataset} --model {params.folder} --element {params.element} --out {output}"
            " > {log} 2>&1"


rule evaluate_tensors:
    input:
        code=code("evaluate_tensors"),
        dataset=rules.ingest.output,
        committee=expand(rules.train_tensors.output.config, member=MEMBERS),
        states=expand(rules.train_tensors.output.state, member=MEMBERS),
    output:
        metrics=f"{RESULTS}/tables/tensor_metrics.csv",
        components=f"{RESULTS}/tables/parity_components.csv",
        parameters=f"{RESULTS}/tables/parity_parameters.csv",
    log:
        f"{RESULTS}/logs/evaluate_tensors.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_tensors.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        folder=lambda wildcards, input: os.path.dirname(os.path.dirname(input.committee[0])),
        isotope=config["material"]["isotope"],
    shell:
        "python {input.code[0]} {input.dataset} --model {params.folder} --isotope {params.isotope}"
        " --out-metrics {output.metrics} --out-components {output.components} --out-parameters {output.parameters}"
        " > {log} 2>&1"


POTENTIAL_MEMBERS = range(config["potential"]["members"])

if config["potential"]["kind"] == "uf3":
    # One linear least-squares problem gives the whole committee; LAMMPS runs it.
    POTENTIAL_ENVIRONMENT = "../envs/md.yaml"
    POTENTIAL_FILES = expand("{root}/potential/member_{n}.uf3", root=RESULTS, n=POTENTIAL_MEMBERS)
    HELD_OUT = f"{RESULTS}/potential/held_out.csv"

    rule train_potential:
        input:
            code=code("train_potential"),
            dataset=POTENTIAL_DATASET,
        output:
            config=f"{RESULTS}/potential/config.json",
            members=POTENTIAL_FILES,
            held_out=HELD_OUT,
        log:
            f"{RESULTS}/logs/train_potential.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_potential.tsv"
        priority: 20
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            folder=subpath(output.config, parent=True),
            common=flags("potential", members="members", seed="seed", stress_offset="stress_offset_GPa"),
            flags=flags(
                "potential/uf3",
                pair_cutoff="pair_cutoff_A",
                pair_intervals="pair_intervals",
                trio_cutoff="trio_cutoff_A",
                leg_intervals="leg_intervals",
                side_intervals="side_intervals",
                energy_error="energy_error_eV",
                force_error="force_error_eV_per_A",
                stress_error="stress_error_eV_per_A3",
                ridge="ridge",
                curvature="curvature",
                wall="wall_eV_per_A2",
                coverage="coverage",
            ),
        shell:
            "python {input.code[0]} {input.dataset} --out {params.folder} {params.common} {params.flags} > {log} 2>&1"

else:
    # Each member of PaiNN is a training of its own, without a cross-validation; ASE runs it.
    POTENTIAL_ENVIRONMENT = "../envs/ml.yaml"
    POTENTIAL_FILES = expand("{root}/potential/member_{n}/state.pt", root=RESULTS, n=POTENTIAL_MEMBERS)
    HELD_OUT = []

    rule train_painn:
        input:
            code=code("train_painn"),
            dataset=POTENTIAL_DATASET,
        output:
            config=f"{RESULTS}/potential/member_{{member}}/config.json",
            state=f"{RESULTS}/potential/member_{{member}}/state.pt",
        log:
            f"{RESULTS}/logs/train_painn_{{member}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_painn_{{member}}.tsv"
        priority: 20
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=3000,
            runtime=480,
        params:
            folder=subpath(output.config, parent=True),
            resume=lambda wildcards: resume("train_painn", wildcards.member),
            common=flags("potential", seed="seed", stress_offset="stress_offset_GPa"),
            flags=flags(
                "potential/painn",
                device="device",
                cutoff="cutoff_A",
                features="features",
                interactions="interactions",
                radial="radial",
                epochs="epochs",
                batch_size="batch_size",
                learning_rate="learning_rate",
                weight_decay="weight_decay",
                energy_error="energy_error_eV",
                force_error="force_error_eV_per_A",
                stress_error="stress_error_eV_per_A3",
            ),
        shell:
            "python {input.code[0]} {input.dataset} --out {params.folder} --resume {params.resume}"
            " --member {wildcards.member} {params.common} {params.flags} --threads {threads} > {log} 2>&1"

    rule train_potential:
        input:
            code=code("gather_painn"),
            members=expand(rules.train_painn.output.config, member=POTENTIAL_MEMBERS),
            states=POTENTIAL_FILES,
        output:
            config=f"{RESULTS}/potential/config.json",
        log:
            f"{RESULTS}/logs/train_potential.log",
        benchmark:
            f"{RESULTS}/benchmarks/train_potential.tsv"
        priority: 20
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        shell:
            "python {input.code[0]} {input.members} --out {output.config} > {log} 2>&1"
