"""For other programs and through one: tensors of the sites as .magres, mrsimulator file and table, and MAS spectra."""

EXPORTED = ["magres", "mrsim", "csv"]


rule export_spins:
    input:
        code=code("export_spins"),
        tensors=SITE_TENSORS,
        propagator=rules.run_kmc.output,
        sites=rules.make_sites.output,
    output:
        magres=f"{RESULTS}/exports/sites_{{temperature}}K.magres",
        mrsim=f"{RESULTS}/exports/sites_{{temperature}}K.mrsim",
        csv=f"{RESULTS}/exports/sites_{{temperature}}K.csv",
    log:
        f"{RESULTS}/logs/export_spins_{{temperature}}K.log",
    benchmark:
        f"{RESULTS}/benchmarks/export_spins_{{temperature}}K.tsv"
    conda:
        "../envs/base.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        isotope=flags("material", isotope="isotope"),
        reference=flags("observables", reference_ppm="reference_shielding_ppm"),
    shell:
        "python {input.code[0]} {input.tensors} --sites {input.sites} --propagator {input.propagator} {params.isotope}"
        " {params.reference} --out-magres {output.magres} --out-mrsim {output.mrsim} --out-csv {output.csv} > {log} 2>&1"


rule simulate_mas:
    input:
        code=code("simulate_mas"),
        propagator=expand(rules.run_kmc.output, temperature=temperatures_of("mas")),
        tensors=expand(SITE_TENSORS, temperature=temperatures_of("mas")),
    output:
        f"{RESULTS}/tables/mas.csv",
    log:
        f"{RESULTS}/logs/simulate_mas.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_mas.tsv"
    conda:
        "../envs/mrsimulator.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        isotope=flags("material", isotope="isotope"),
        reference=flags("observables", reference_ppm="reference_shielding_ppm"),
        flags=flags("observables/mas", field_T="field_T", spin_rates_kHz="spin_rates_kHz", lorentz_Hz="lorentz_Hz"),
    shell:
        "python {input.code[0]} --propagator {input.propagator} --site-tensors {input.tensors} {params.isotope}"
        " {params.reference} {params.flags} --out {output} > {log} 2>&1"
