"""How far to trust barriers: the same hops in growing supercells, and DFT single points along hop paths.

No part of the rate model: `snakemake barriers` and `snakemake hop_paths`, where the config has a section for them.
"""

PATH_IMAGES = 3  # between the ends: with them five single points a path


if "convergence" in config["neb"]:

    rule converge_barriers:
        input:
            code=code("converge_barriers"),
            crystal=config["material"]["structure"],
            sites=rules.make_sites.output,
            potential=rules.train_potential.output.config,
            members=POTENTIAL_FILES,
        output:
            f"{RESULTS}/tables/barrier_cells.csv",
        log:
            f"{RESULTS}/logs/converge_barriers.log",
        benchmark:
            f"{RESULTS}/benchmarks/converge_barriers.tsv"
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000,
            runtime=240,
        params:
            folder=subpath(input.potential, parent=True),
            state=resume("converge_barriers"),
            neb=flags("neb", images="images", max_force="max_force_eV_per_A", seed="seed"),
            arrangements=flags("neb/convergence", arrangements="arrangements"),
            cells=" ".join("x".join(map(str, cell)) for cell in config["neb"]["convergence"]["supercells"]),
            distance=flags("md", min_distance="min_distance_A"),
        shell:
            "python {input.code[0]} {input.crystal} --sites {input.sites} --potential {params.folder}"
            " --repeats {params.cells} {params.arrangements} {params.neb} {params.distance} --state {params.state}"
            " --out {output} > {log} 2>&1"

    rule plot_barriers:
        input:
            code=code("plot_barriers"),
            table=rules.converge_barriers.output,
        output:
            pdf=f"{RESULTS}/figures/barriers.pdf",
            png=report(f"{RESULTS}/figures/barriers.png", caption="../report/barriers.rst", category="Figures"),
        log:
            f"{RESULTS}/logs/plot_barriers.log",
        benchmark:
            f"{RESULTS}/benchmarks/plot_barriers.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        shell:
            "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"


if "paths" in config["neb"]:
    PATHS = config["neb"]["paths"]

    if "labelled" not in PATHS:

        rule export_hop_paths:
            input:
                code=code("export_hop_paths"),
                crystal=config["material"]["structure"],
                sites=rules.make_sites.output,
                potential=rules.train_potential.output.config,
                members=POTENTIAL_FILES,
            output:
                f"{RESULTS}/dft/hop_paths_pool.extxyz",
            log:
                f"{RESULTS}/logs/export_hop_paths.log",
            benchmark:
                f"{RESULTS}/benchmarks/export_hop_paths.tsv"
            conda:
                POTENTIAL_ENVIRONMENT
            threads: 1
            resources:
                mem_mb=2000,
                runtime=60,
            params:
                folder=subpath(input.potential, parent=True),
                neb=flags("neb", max_force="max_force_eV_per_A", seed="seed"),
                paths=flags("neb/paths", repeat="supercell", number="number", charge="charge"),
                distance=flags("md", min_distance="min_distance_A"),
                material=flags("material", material="name", phase="phase"),
                group=f"{config['study']}_paths",
            shell:
                "python {input.code[0]} {input.crystal} --sites {input.sites} --potential {params.folder} {params.neb}"
                f" {{params.paths}} --images {PATH_IMAGES} {{params.distance}} {{params.material}}"
                " --group {params.group} --out {output} > {log} 2>&1"

        use rule label_snapshot as label_hop_path with:
            input:
                code=code("label_snapshot"),
                pool=rules.export_hop_paths.output,
                datasets=expand(rules.make_paw_dataset.output, element=DFT["valence_electrons"]),
            output:
                f"{RESULTS}/dft/hop_paths/{{frame}}.extxyz",
            log:
                f"{RESULTS}/logs/label_path_{{frame}}.log",
            benchmark:
                f"{RESULTS}/benchmarks/label_path_{{frame}}.tsv"
            params:
                text=lambda wildcards: f"{RESULTS}/logs/gpaw_hop_path_{wildcards.frame}.txt",

        use rule gather_labels as gather_hop_paths with:
            input:
                code=code("gather_labels"),
                frames=expand(rules.label_hop_path.output, frame=range((PATH_IMAGES + 2) * PATHS["number"])),
                pool=rules.export_hop_paths.output,
            output:
                f"{RESULTS}/dft/hop_paths.extxyz",
            log:
                f"{RESULTS}/logs/gather_hop_paths.log",
            benchmark:
                f"{RESULTS}/benchmarks/gather_hop_paths.tsv"
            params:
                flags=lambda wildcards, input: f"--pool {input.pool} --copies",  # paths may share an end

    rule compare_hop_paths:
        input:
            code=code("compare_hop_paths"),
            labelled=PATHS["labelled"] if "labelled" in PATHS else rules.gather_hop_paths.output,
            potential=rules.train_potential.output.config,
            members=POTENTIAL_FILES,
            held_out=HELD_OUT,
        output:
            images=f"{RESULTS}/tables/hop_paths.csv",
            barriers=f"{RESULTS}/tables/hop_path_barriers.csv",
        log:
            f"{RESULTS}/logs/compare_hop_paths.log",
        benchmark:
            f"{RESULTS}/benchmarks/compare_hop_paths.tsv"
        conda:
            POTENTIAL_ENVIRONMENT
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            folder=subpath(input.potential, parent=True),
            held_out="--held-out" if HELD_OUT else "",
        shell:
            "python {input.code[0]} {input.labelled} --potential {params.folder} {params.held_out} {input.held_out}"
            " --out {output.images} --barriers {output.barriers} > {log} 2>&1"

    rule plot_hop_paths:
        input:
            code=code("plot_hop_paths"),
            table=rules.compare_hop_paths.output.images,
        output:
            pdf=f"{RESULTS}/figures/hop_paths.pdf",
            png=report(f"{RESULTS}/figures/hop_paths.png", caption="../report/hop_paths.rst", category="Figures"),
        log:
            f"{RESULTS}/logs/plot_hop_paths.log",
        benchmark:
            f"{RESULTS}/benchmarks/plot_hop_paths.tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        shell:
            "python {input.code[0]} {input.table} --out-pdf {output.pdf} --out-png {output.png} > {log} 2>&1"
