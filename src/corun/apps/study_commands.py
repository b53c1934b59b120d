"""`corun study`: a blind rating page for people, and what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corun.apps import options


def study(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results, by method.")],
    mode: Annotated[str, typer.Option(help="score (1 to 10) or pairs.")] = "score",
    port: options.Port = 8000,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 lets others on your network take part.")
    ] = "127.0.0.1",
    votes: Annotated[Path, typer.Option(metavar="FILE", help="SQLite file of the votes.")] = Path(
        "votes.sqlite"
    ),
    originals: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Hazy photos, shown beside.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Photos at most, chosen by the seed.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice and the orders.")] = 0,
) -> None:
    """Serve a blind, randomised rating page over folders of results."""
    from corun.apps.exit_status import complain
    from corun.errors import ConfigurationError, escaped
    from corun.study.server import StudyServer
    from corun.study.trials import MODES, open_study
    from corun.study.votes import VoteStore

    chosen = next((known for known in MODES if known == mode), None)
    if chosen is None:
        raise ConfigurationError(f"--mode {mode}: give {' or '.join(MODES)}")
    opened = open_study(folders, chosen, originals=originals, limit=limit, seed=seed)
    for line in opened.left_out:
        complain(f"left out: {line}")
    server = StudyServer(opened, VoteStore(votes), host=host, port=port)
    print(f"{server.url} ({len(opened.trials(''))} questions each; Ctrl-C ends)", flush=True)
    server.run()
    place = escaped(str(votes))
    print(f"votes are in {place}; see them with: corun study-results {place}", flush=True)


def study_results(
    votes: Annotated[Path, typer.Argument(metavar="FILE", help="SQLite file of the votes.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help=".json or .csv; printed without."),
    ] = None,
    every_vote: Annotated[
        bool, typer.Option("--every-vote", help="Each vote as a CSV row instead.")
    ] = False,
    rates: Annotated[
        bool, typer.Option("--win-rates", help="Of a study in pairs: each pair as a CSV row.")
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Print or write what a study found: opinion scores or win rates, with intervals."""
    from corun.apps.exit_status import complain, require_new
    from corun.errors import ConfigurationError, DataError, system_errors_as
    from corun.files import write_atomically
    from corun.study.opinions import groups_of, results_csv, results_json, votes_csv, win_rates_csv
    from corun.study.votes import VoteStore

    if output is not None and output.suffix not in (".json", ".csv"):
        raise ConfigurationError(f"{output}: results are written as .json or .csv")
    if output is not None and output.resolve() == votes.resolve():
        raise ConfigurationError(f"{output}: holds the votes; name another file for the results")
    if output is not None:
        require_new(output, overwrite)
    store = VoteStore(votes, make=False)
    facts, cast = store.facts(), store.votes()
    methods, mode = facts["methods"], str(facts["mode"])
    assert isinstance(methods, list)
    if mode == "pairs" and len(groups := groups_of(cast, methods)) > 1:
        told = "; ".join(", ".join(group) for group in groups)
        complain(f"methods that never met, not even through others, have no common scale: {told}")
    if every_vote:
        text = votes_csv(cast)
    elif rates:
        if mode != "pairs":
            raise ConfigurationError(f"{votes}: holds scores; --win-rates is of studies in pairs")
        text = win_rates_csv(cast, methods)
    elif output is not None and output.suffix == ".csv":
        text = results_csv(cast, methods, mode)
    else:
        text = results_json(cast, methods, mode) + "\n"
    if output is None:
        print(text, end="")
    else:
        with system_errors_as(DataError, f"{output}: cannot be written", "name another file"):
            write_atomically(output, text, overwrite=overwrite)
