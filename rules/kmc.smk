"""From counts and barriers to one rate model, and from it to the milliseconds: kinetic Monte Carlo.

With a section `interactions` in the config the ions interact: the rates are then those among mean occupancies.

The rules with `shift` run it again, with fewer replicas, at the rate model moved by one standard deviation along one of
the directions in which its uncertainty matters most.
"""

# Where ions interact there is one direction more, the first: that of the interactions' strength.
SHIFTS = range(1, config["kmc"]["shifts"] + 1 + INTERACT) if config["kmc"]["shifts"] else []


rule run_neb:
    input:
        code=code("run_neb"),
        crystal=config["material"]["structure"],
        sites=rules.make_sites.output,
        potential=rules.train_potential.output.config,
        members=POTENTIAL_FILES,
    output:
        f"{RESULTS}/rates/barriers.csv",
    log:
        f"{RESULTS}/logs/run_neb.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_neb.tsv"
    priority: 15
    conda:
        POTENTIAL_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        folder=subpath(input.potential, parent=True),
        state=resume("run_neb"),
        neb=flags(
            "neb",
            arrangements="arrangements",
            images="images",
            members="members",
            max_force="max_force_eV_per_A",
            seed="seed",
        ),
        cell=flags("md", repeat="supercell", min_distance="min_distance_A"),
    shell:
        "python {input.code[0]} {input.crystal} --sites {input.sites} --potential {params.folder} {params.neb}"
        " {params.cell} --state {params.state} --out {output} > {log} 2>&1"


MEMBER_ENERGIES = f"{RESULTS}/tables/member_energies.csv" if config["potential"]["members"] > 1 else []

if MEMBER_ENERGIES:

    rule compare_members:
        input:
            code=code("compare_members"),
            trajectories=rules.analyse_jumps.input.trajectories,
            sites=rules.make_sites.output,
            potential=rules.train_potential.output.config,
            members=POTENTIAL_FILES,
        output:
            MEMBER_ENERGIES,
        log:
            f"{RESULTS}/logs/compare_members.log",
        benchmark:
            f"{RESULTS}/benchmarks/compare_members.tsv"
        priority: 15
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=4000,
            runtime=120,
        params:
            folder=subpath(input.potential, parent=True),
            radius=flags("sites", core_radius="core_radius_A"),
            seed=flags("md", seed="seed"),
        shell:
            "python {input.code[0]} {input.trajectories} --sites {input.sites} --potential {params.folder} {params.radius}"
            " {params.seed} --out {output} > {log} 2>&1"


rule fit_rates:
    input:
        code=code("fit_rates"),
        counts=rules.analyse_jumps.output.counts,
        members=rules.analyse_jumps.output.members,
        energies=MEMBER_ENERGIES,
        barriers=rules.run_neb.output,
        sites=rules.make_sites.output,
        neighbours=rules.analyse_jumps.output.neighbours if INTERACT else [],
        interactions=INTERACTIONS,
    output:
        **({"interactions": f"{RESULTS}/rates/interactions.json"} if INTERACT else {}),
        rates=f"{RESULTS}/tables/rates.csv",
        members=f"{RESULTS}/tables/rate_members.csv",
        model=f"{RESULTS}/rates/model.json",
    log:
        f"{RESULTS}/logs/fit_rates.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_rates.tsv"
    priority: 15
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        flags=flags(
            "rates",
            min_count="min_count",
            neb_error="neb_error_eV",
            prefactor="prefactor_per_s",
            prefactor_factor="prefactor_factor",
        ),
        mark=MARK,
        energies=lambda wildcards, input: f"--member-energies {input.energies}" if input.energies else "",
        temperatures=" ".join(dict.fromkeys([*COLD, *HOT])),
        neighbours=lambda wildcards, input, output: (
            f"--neighbours {input.neighbours} --interactions {input.interactions}"
            f" --out-interactions {output.interactions}"
            if INTERACT
            else ""
        ),
    shell:
        "python {input.code[0]} {input.counts} --members {input.members} --sites {input.sites} --neb {input.barriers}"
        " {params.energies} {params.flags} {params.mark} {params.neighbours}"
        " --temperatures {params.temperatures} --out {output.rates} --out-members {output.members}"
        " --model {output.model} > {log} 2>&1"


if INTERACT:

    rule compare_gas:
        input:
            code=code("compare_gas"),
            trajectories=rules.analyse_jumps.input.trajectories,
            crystal=config["material"]["structure"],
            sites=rules.make_sites.output,
            interactions=rules.fit_interactions.output.interactions,
            model=rules.fit_rates.output.model,
        output:
            pairs=f"{RESULTS}/tables/pair_correlation.csv",
            occupancies=f"{RESULTS}/tables/occupancies.csv",
        log:
            f"{RESULTS}/logs/compare_gas.log",
        benchmark:
            f"{RESULTS}/benchmarks/compare_gas.tsv"
        priority: 15
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            flags=flags("interactions", cutoff="cutoff_A", seed="seed"),
            radius=flags("sites", core_radius="core_radius_A"),
            mark=MARK,
        shell:
            "python {input.code[0]} {input.trajectories} --cif {input.crystal} --sites {input.sites}"
            " --interactions {input.interactions} --model {input.model} {params.flags} {params.radius} {params.mark}"
            " --out {output.pairs} --out-occupancies {output.occupancies} > {log} 2>&1"


# What programs that let ions hop are told of interactions.
KMC_INTERACTIONS = [rules.fit_rates.output.interactions] if INTERACT else []
GAS = f"--interactions {KMC_INTERACTIONS[0]}" if INTERACT else ""


rule run_kmc:
    input:
        code=code("run_kmc"),
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
    output:
        f"{RESULTS}/kmc/propagator_{{temperature}}K.nc",
    log:
        f"{RESULTS}/logs/run_kmc_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_kmc_{{temperature}}K.tsv"
    priority: 15
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        gas=GAS,
        resume=lambda wildcards: resume("run_kmc", wildcards.temperature),
        flags=kmc_flags("replicas"),
    shell:
        "python {input.code[0]} {input.sites} --rates {input.rates} --temperature {wildcards.temperature}"
        " {params.flags} {params.gas} --jobs {threads} --checkpoint {params.resume} --out {output} > {log} 2>&1"


# At the temperatures of MD, beside which its diffusion is laid: a twentieth of the jumps tells enough there.
use rule run_kmc as run_kmc_hot with:
    output:
        f"{RESULTS}/kmc/hot/propagator_{{temperature}}K.nc",
    log:
        f"{RESULTS}/logs/run_kmc_hot_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_kmc_hot_{{temperature}}K.tsv"
    params:
        gas=GAS,
        resume=lambda wildcards: resume("run_kmc", "hot", wildcards.temperature),
        flags=kmc_flags("replicas", max_events=config["kmc"]["max_events"] // 20),


use rule run_kmc as run_kmc_shift with:
    input:
        code=code("run_kmc"),
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        model=rules.fit_rates.output.model,
    output:
        f"{RESULTS}/kmc/shift_{{shift}}/propagator_{{temperature}}K.nc",
    log:
        f"{RESULTS}/logs/run_kmc_shift_{{shift}}_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/run_kmc_shift_{{shift}}_{{temperature}}K.tsv"
    params:
        gas=GAS,
        resume=lambda wildcards: resume("run_kmc", f"shift_{wildcards.shift}", wildcards.temperature),
        flags=lambda wildcards: " ".join([kmc_flags("shift_replicas"), shift_flags(wildcards)]),
