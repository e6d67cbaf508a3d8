"""What the spectrometer records: site tensors, echoes, spectra, diffusion, and the comparison with experiment."""


rule average_tensors:
    input:
        code=code("average_tensors"),
        trajectories=lambda wildcards: expand(
            rules.run_md_tensors.output.trajectory,
            temperature=wildcards.temperature,
            arrangement=range(config["md"]["tensors"]["arrangements"]),
        ),
        sites=rules.make_sites.output,
        committee=expand(rules.train_tensors.output.config, member=MEMBERS),
        states=expand(rules.train_tensors.output.state, member=MEMBERS),
        shieldings=SHIELDING_MODEL,
    output:
        f"{RESULTS}/nmr/averages_{{temperature}}K.json",
    log:
        f"{RESULTS}/logs/average_tensors_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/average_tensors_{{temperature}}K.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        folder=lambda wildcards, input: os.path.dirname(os.path.dirname(input.committee[0])),
        shieldings=f"--shieldings {RESULTS}/shielding_model" if SHIELDING_MODEL else "",
        isotope=flags("material", isotope="isotope"),
        frames=flags("md/tensors", frames="frames"),
        spread=flags("tensor_model", spread_factor="spread_factor", dft_error="dft_error"),
    shell:
        "python {input.code[0]} {input.trajectories} --sites {input.sites} --model {params.folder} {params.shieldings}"
        " {params.isotope} {params.frames} {params.spread} --threads {threads} --out {output} > {log} 2>&1"


use rule average_tensors as average_still_tensors with:
    input:
        code=code("average_tensors"),
        trajectories=lambda wildcards: expand(
            rules.quench_trajectory.output,
            temperature=wildcards.temperature,
            arrangement=range(config["md"]["tensors"]["arrangements"]),
        ),
        sites=rules.make_sites.output,
        committee=expand(rules.train_tensors.output.config, member=MEMBERS),
        states=expand(rules.train_tensors.output.state, member=MEMBERS),
        shieldings=SHIELDING_MODEL,
    output:
        f"{RESULTS}/nmr/still_averages_{{temperature}}K.json",
    log:
        f"{RESULTS}/logs/average_still_tensors_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/average_still_tensors_{{temperature}}K.tsv"


rule correlate_trajectory:
    input:
        code=code("correlate_trajectory"),
        trajectories=expand(rules.run_md_rates.output.trajectory, arrangement=HOT_RUNS, allow_missing=True),
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        sites=rules.make_sites.output,
        committee=expand(rules.train_tensors.output.config, member=MEMBERS),
        states=expand(rules.train_tensors.output.state, member=MEMBERS),
    output:
        correlations=f"{RESULTS}/nmr/histories_{{temperature}}K.csv",
        surroundings=f"{RESULTS}/nmr/surroundings_{{temperature}}K.json",
    log:
        f"{RESULTS}/logs/correlate_trajectory_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/correlate_trajectory_{{temperature}}K.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        # All frames of the hot runs at once
        mem_mb=lambda wildcards, attempt: 4000 * attempt**2,
        runtime=lambda wildcards, attempt: 120 * attempt**2,
    params:
        gas=GAS,
        folder=lambda wildcards, input: os.path.dirname(os.path.dirname(input.committee[0])),
        flags=flags("kmc", supercell="supercell", seed="seed"),
        spread=flags("tensor_model", spread_factor="spread_factor"),
    shell:
        "python {input.code[0]} {input.trajectories} --sites {input.sites} --model {params.folder} --rates {input.rates} {params.gas}"
        " {params.flags} {params.spread} --threads {threads} --out {output.correlations} --surroundings {output.surroundings}"
        " > {log} 2>&1"


# What filled neighbours change is fitted to the coolest MD in which ions change their surroundings; means of sites are
# those of the temperature itself.
SURROUNDINGS = expand(rules.correlate_trajectory.output.surroundings, temperature=min(HOT, key=float))


rule adapt_tensors:
    input:
        code=code("adapt_tensors"),
        tensors=rules.average_tensors.output,
        surroundings=SURROUNDINGS,
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
    output:
        f"{RESULTS}/nmr/site_tensors_{{temperature}}K.json",
    log:
        f"{RESULTS}/logs/adapt_tensors_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/adapt_tensors_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        gas=GAS,
        concentration=concentration_flag(),
        box=flags("kmc", supercell="supercell") if INTERACT else "",
    shell:
        "python {input.code[0]} {input.tensors} --surroundings {input.surroundings} --sites {input.sites}"
        " --rates {input.rates} {params.gas} {params.concentration} {params.box} --out {output} > {log} 2>&1"


use rule adapt_tensors as adapt_still_tensors with:
    input:
        code=code("adapt_tensors"),
        tensors=rules.average_still_tensors.output,
        surroundings=SURROUNDINGS,
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
    output:
        f"{RESULTS}/nmr/still_tensors_{{temperature}}K.json",
    log:
        f"{RESULTS}/logs/adapt_still_tensors_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/adapt_still_tensors_{{temperature}}K.tsv"


# The tensors that all observables are computed from.
SITE_TENSORS = {
    "thermal": rules.adapt_tensors.output,
    "still": rules.adapt_still_tensors.output,
    "surroundings": rules.adapt_tensors.output,
}[config["observables"]["tensors"]]


rule coupling_table:
    input:
        code=code("coupling_table"),
        thermal=expand(rules.adapt_tensors.output, temperature=COLD),
        still=expand(rules.adapt_still_tensors.output, temperature=COLD),
        sites=rules.make_sites.output,
    output:
        f"{RESULTS}/tables/couplings.csv",
    log:
        f"{RESULTS}/logs/coupling_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/coupling_table.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        isotope=flags("material", isotope="isotope"),
    shell:
        "python {input.code[0]} --thermal {input.thermal} --still {input.still} --sites {input.sites} {params.isotope}"
        " --out {output} > {log} 2>&1"


rule correlate_surroundings:
    input:
        code=code("correlate_surroundings"),
        propagator=rules.run_kmc.output,
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        tensors=rules.adapt_tensors.output,
        surroundings=SURROUNDINGS,
    output:
        f"{RESULTS}/nmr/fluctuations_{{temperature}}K.nc",
    log:
        f"{RESULTS}/logs/correlate_surroundings_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/correlate_surroundings_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        gas=GAS,
        isotope=flags("material", isotope="isotope"),
        flags=" ".join(
            [
                flags("kmc", supercell="supercell", seed="seed", max_events="max_events"),
                vacancy_flags(),
                flags("observables", evolution_times_us="evolution_times_us", direction="direction"),
            ]
        ),
    shell:
        "python {input.code[0]} {input.sites} --rates {input.rates} {params.gas} --temperature {wildcards.temperature}"
        " --propagator {input.propagator} --site-tensors {input.tensors} --surroundings {input.surroundings}"
        " {params.isotope} {params.flags} --out {output} > {log} 2>&1"


use rule correlate_surroundings as correlate_surroundings_shift with:
    input:
        code=code("correlate_surroundings"),
        propagator=rules.run_kmc_shift.output,
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        model=rules.fit_rates.output.model,
        tensors=rules.adapt_tensors.output,
        surroundings=SURROUNDINGS,
    output:
        f"{RESULTS}/nmr/shift_{{shift}}/fluctuations_{{temperature}}K.nc",
    log:
        f"{RESULTS}/logs/correlate_surroundings_shift_{{shift}}_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/correlate_surroundings_shift_{{shift}}_{{temperature}}K.tsv"
    params:
        gas=GAS,
        isotope=flags("material", isotope="isotope"),
        flags=lambda wildcards: " ".join(
            [
                flags("kmc", supercell="supercell", seed="seed", max_events="max_events"),
                vacancy_flags(),
                flags("observables", evolution_times_us="evolution_times_us", direction="direction"),
                shift_flags(wildcards),
            ]
        ),


BY_SURROUNDINGS = config["observables"]["tensors"] == "surroundings"


rule simulate_nmr:
    input:
        code=code("simulate_nmr"),
        propagator=rules.run_kmc.output,
        tensors=SITE_TENSORS,
        around=rules.correlate_surroundings.output if BY_SURROUNDINGS else [],
        like=[],
    output:
        echo=f"{RESULTS}/nmr/echo_{{temperature}}K.csv",
        correlation=f"{RESULTS}/nmr/correlation_{{temperature}}K.csv",
        fits=f"{RESULTS}/nmr/echo_fits_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_nmr_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_nmr_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        isotope=flags("material", isotope="isotope"),
        flags=flags("observables", evolution_times_us="evolution_times_us", t1q_s="t1q_s", direction="direction"),
        around="--surroundings" if BY_SURROUNDINGS else "",
        like="",
    shell:
        "python {input.code[0]} --propagator {input.propagator} --site-tensors {input.tensors} {params.isotope}"
        " {params.flags} {params.around} {input.around} {params.like} {input.like} --out-echo {output.echo} --out-correlation {output.correlation} --out-fits {output.fits}"
        " > {log} 2>&1"


use rule simulate_nmr as simulate_nmr_shift with:
    input:
        code=code("simulate_nmr"),
        propagator=rules.run_kmc_shift.output,
        tensors=SITE_TENSORS,
        around=rules.correlate_surroundings_shift.output if BY_SURROUNDINGS else [],
        like=rules.simulate_nmr.output.fits,
    output:
        echo=f"{RESULTS}/nmr/shift_{{shift}}/echo_{{temperature}}K.csv",
        correlation=f"{RESULTS}/nmr/shift_{{shift}}/correlation_{{temperature}}K.csv",
        fits=f"{RESULTS}/nmr/shift_{{shift}}/echo_fits_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_nmr_shift_{{shift}}_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_nmr_shift_{{shift}}_{{temperature}}K.tsv"
    params:
        like="--stages-of",


rule simulate_spectra:
    input:
        code=code("simulate_spectra"),
        propagator=rules.run_kmc.output,
        moved=expand(rules.run_kmc_shift.output, shift=SHIFTS, allow_missing=True),
        tensors=SITE_TENSORS,
    output:
        f"{RESULTS}/nmr/spectra_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_spectra_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_spectra_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        isotope=flags("material", isotope="isotope"),
        flags=flags("observables", lorentz_Hz="lorentz_Hz"),
    shell:
        "python {input.code[0]} --propagator {input.propagator} --moved {input.moved} --site-tensors {input.tensors}"
        " {params.isotope} {params.flags} --out {output} > {log} 2>&1"


rule simulate_relaxation:
    input:
        code=code("simulate_relaxation"),
        propagator=rules.run_kmc.output,
        tensors=SITE_TENSORS,
        around=rules.correlate_surroundings.output if BY_SURROUNDINGS else [],
    output:
        f"{RESULTS}/nmr/relaxation_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_relaxation_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_relaxation_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        isotope=flags("material", isotope="isotope"),
        flags=flags("observables", fields_T="fields_T", direction="direction"),
        around="--surroundings" if BY_SURROUNDINGS else "",
    shell:
        "python {input.code[0]} --propagator {input.propagator} --site-tensors {input.tensors} {params.isotope}"
        " {params.flags} {params.around} {input.around} --out {output} > {log} 2>&1"


use rule simulate_relaxation as simulate_relaxation_shift with:
    input:
        code=code("simulate_relaxation"),
        propagator=rules.run_kmc_shift.output,
        tensors=SITE_TENSORS,
        around=rules.correlate_surroundings_shift.output if BY_SURROUNDINGS else [],
    output:
        f"{RESULTS}/nmr/shift_{{shift}}/relaxation_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_relaxation_shift_{{shift}}_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_relaxation_shift_{{shift}}_{{temperature}}K.tsv"


rule simulate_vibrations:
    input:
        code=code("simulate_vibrations"),
        trajectory=expand(
            rules.run_md_vibrations.output.trajectory, temperature=temperatures_of("vibrations"), arrangement=0
        ),
        committee=expand(rules.train_tensors.output.config, member=MEMBERS),
        states=expand(rules.train_tensors.output.state, member=MEMBERS),
    output:
        f"{RESULTS}/tables/vibrations.csv",
    log:
        f"{RESULTS}/logs/simulate_vibrations.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_vibrations.tsv"
    conda:
        "../envs/ml.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        folder=lambda wildcards, input: os.path.dirname(os.path.dirname(input.committee[0])),
        flags=flags("material", mobile="mobile", isotope="isotope"),
    shell:
        "python {input.code[0]} {input.trajectory} --model {params.folder} {params.flags} --threads {threads}"
        " --out {output} > {log} 2>&1"


rule simulate_linewidth:
    input:
        code=code("simulate_linewidth"),
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
    output:
        f"{RESULTS}/nmr/linewidth_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_linewidth_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_linewidth_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        gas=GAS,
        isotope=flags("material", isotope="isotope"),
        flags=flags("kmc", supercell="supercell", replicas="replicas", seed="seed", max_events="max_events")
        + vacancy_flags(),
    shell:
        "python {input.code[0]} {input.sites} --rates {input.rates} {params.gas} --temperature {wildcards.temperature}"
        " {params.isotope} {params.flags} --out {output} > {log} 2>&1"


use rule simulate_linewidth as simulate_linewidth_shift with:
    input:
        code=code("simulate_linewidth"),
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        model=rules.fit_rates.output.model,
    output:
        f"{RESULTS}/nmr/shift_{{shift}}/linewidth_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_linewidth_shift_{{shift}}_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_linewidth_shift_{{shift}}_{{temperature}}K.tsv"
    params:
        gas=GAS,
        isotope=flags("material", isotope="isotope"),
        flags=lambda wildcards: " ".join(
            [
                flags("kmc", supercell="supercell", replicas="shift_replicas", seed="seed", max_events="max_events"),
                vacancy_flags(),
                shift_flags(wildcards),
            ]
        ),


rule simulate_paths:
    input:
        code=code("simulate_paths"),
        sites=rules.make_sites.output,
        rates=rules.fit_rates.output.rates,
        interactions=KMC_INTERACTIONS,
        tensors=SITE_TENSORS,
        surroundings=SURROUNDINGS,
    output:
        spectra=f"{RESULTS}/nmr/path_spectra_{{temperature}}K.csv",
        echoes=f"{RESULTS}/nmr/path_echoes_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/simulate_paths_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_paths_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        gas=GAS,
        isotope=flags("material", isotope="isotope"),
        flags=" ".join(
            [
                flags("kmc", supercell="supercell", seed="seed"),
                vacancy_flags(),
                flags("observables", evolution_times_us="evolution_times_us", lorentz_Hz="lorentz_Hz"),
                flags("observables/paths", echo_delay_us="echo_delay_us", dead_time_us="dead_time_us"),
                flags("observables/paths", replicas="replicas", max_events="max_events"),
            ]
        ),
    shell:
        "python {input.code[0]} {input.sites} --rates {input.rates} {params.gas} --temperature {wildcards.temperature}"
        " --site-tensors {input.tensors} --surroundings {input.surroundings} {params.isotope} {params.flags}"
        " --out-spectra {output.spectra} --out-echoes {output.echoes} > {log} 2>&1"


rule simulate_exchange:
    input:
        code=code("simulate_exchange"),
        propagator=expand(rules.run_kmc.output, temperature=temperatures_of("exchange")),
        moved=expand(rules.run_kmc_shift.output, temperature=temperatures_of("exchange"), shift=SHIFTS),
        tensors=expand(SITE_TENSORS, temperature=temperatures_of("exchange")),
    output:
        f"{RESULTS}/tables/exchange.csv",
    log:
        f"{RESULTS}/logs/simulate_exchange.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_exchange.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        isotope=flags("material", isotope="isotope"),
        flags=flags("observables/exchange", mixing_times_s="mixing_times_s"),
        direction=flags("observables", direction="direction"),
    shell:
        "python {input.code[0]} --propagator {input.propagator} --moved {input.moved} --site-tensors {input.tensors}"
        " {params.isotope} {params.flags} {params.direction} --out {output} > {log} 2>&1"


rule gather_table:
    input:
        code=code("gather_tables"),
        parts=lambda wildcards: expand(
            "{root}/nmr/{folder}{table}_{temperature}K.csv",
            root=RESULTS,
            folder=[
                "",
                *[f"shift_{n}/" for n in SHIFTS if wildcards.table != "spectra"],
            ],
            table=wildcards.table,
            temperature=COLD,
        ),
    output:
        f"{RESULTS}/tables/{{table}}.csv",
    log:
        f"{RESULTS}/logs/gather_{{table}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_{{table}}.tsv"
    wildcard_constraints:
        table="echo|echo_fits|correlation|spectra|relaxation|linewidth",
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python {input.code[0]} {input.parts} --out {output} > {log} 2>&1"


use rule gather_table as gather_paths with:
    input:
        code=code("gather_tables"),
        parts=lambda wildcards: expand(
            f"{RESULTS}/nmr/{wildcards.table}_{{temperature}}K.csv", temperature=temperatures_of("paths")
        ),
    wildcard_constraints:
        table="path_spectra|path_echoes",


use rule gather_table as gather_histories with:
    input:
        code=code("gather_tables"),
        parts=expand(rules.correlate_trajectory.output.correlations, temperature=HOT),
    output:
        f"{RESULTS}/tables/histories.csv",
    log:
        f"{RESULTS}/logs/gather_histories.log",
    benchmark:
        f"{RESULTS}/benchmarks/gather_histories.tsv"


rule diffusion_table:
    input:
        code=code("diffusion_table"),
        propagators=[
            *expand(rules.run_kmc.output, temperature=COLD),
            *expand(rules.run_kmc_hot.output, temperature=[value for value in HOT if value not in COLD]),
            *expand(rules.run_kmc_shift.output, temperature=COLD, shift=SHIFTS),
        ],
        sites=rules.make_sites.output,
        jumps=rules.analyse_jumps.output.summary,
    output:
        f"{RESULTS}/tables/diffusion.csv",
    log:
        f"{RESULTS}/logs/diffusion_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/diffusion_table.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=f"{flags('observables', arrhenius_range='arrhenius_range_K')} {flags('material', charge='charge')}",
    shell:
        "python {input.code[0]} {input.propagators} --md-summary {input.jumps} --sites {input.sites}"
        " {params.flags} --out {output} > {log} 2>&1"


if not INTERACT:

    rule occupancy_table:
        input:
            code=code("occupancy_table"),
            propagators=[
                *expand(rules.run_kmc.output, temperature=COLD),
                *expand(rules.run_kmc_hot.output, temperature=[value for value in HOT if value not in COLD]),
            ],
            model=rules.fit_rates.output.model,
            sites=rules.make_sites.output,
            jumps=rules.analyse_jumps.output.summary,
        output:
            f"{RESULTS}/tables/occupancies.csv",
        log:
            f"{RESULTS}/logs/occupancy_table.log",
        benchmark:
            f"{RESULTS}/benchmarks/occupancy_table.tsv"
        conda:
            "../envs/base.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            vacancies=flags("kmc/vacancies", vacancy_factor="within_factor"),
        shell:
            "python {input.code[0]} {input.propagators} --md-summary {input.jumps} --sites {input.sites}"
            " --rate-model {input.model} {params.vacancies} --out {output} > {log} 2>&1"


rule fit_measured_echoes:
    input:
        code=code("fit_measured_echoes"),
        decays=config["observables"].get("measured_echoes", without("observables.measured_echoes")),
    output:
        f"{RESULTS}/tables/measured_echo_fits.csv",
    log:
        f"{RESULTS}/logs/fit_measured_echoes.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_measured_echoes.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        flags=flags("observables", t1q_s="t1q_s"),
    shell:
        "python {input.code[0]} {input.decays:q} {params.flags} --out {output} > {log} 2>&1"


rule compare_with_literature:
    input:
        code=code("compare_with_literature"),
        measured=MEASURED_ECHO_FITS,
        rates=rules.fit_rates.output.rates,
        diffusion=rules.diffusion_table.output,
        fits=f"{RESULTS}/tables/echo_fits.csv",
        couplings=rules.coupling_table.output,
        literature=config["material"]["literature"],
    output:
        report(f"{RESULTS}/tables/agreement.csv", caption="../report/agreement.rst", category="Agreement"),
    log:
        f"{RESULTS}/logs/compare_with_literature.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_with_literature.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        material=flags("material", material="name", phase="phase", isotope="isotope"),
        reference=flags("observables", reference_temperature="reference_temperature_K"),
        vacancies=flags("kmc/vacancies", vacancies="per_site", vacancy_factor="within_factor"),
        measured=f"--measured-echoes {shlex.join(MEASURED_ECHO_FITS)}" if MEASURED_ECHO_FITS else "",
    shell:
        "python {input.code[0]} --rates {input.rates} --diffusion {input.diffusion} --echo-fits {input.fits}"
        " --couplings {input.couplings} --literature {input.literature} {params.material} {params.reference}"
        " {params.vacancies} {params.measured} --out {output} > {log} 2>&1"
