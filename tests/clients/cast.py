"""Who plays: one file of `cast/` for each client. README.md says what may stand in it."""

import dataclasses
import pathlib
import tomllib

from stage import Failure

HERE = pathlib.Path(__file__).resolve().parent

# What a client has to do, in the order of the report. A limit in its file names one of these.
STEPS = {
    "first": "writes an object and reads it back with its first credentials",
    "identity": "every request to S3 was signed with credentials that were vended for its role",
    "foreign": "is refused at the other role's bucket",
    "refreshed": "writes and reads in the same process after its first credentials were refused as expired, with newer ones",
    "kept": "writes and reads while the daemon is down, with credentials of an hour that it fetched before",
    "filled": "asked while its role was pending, it writes and reads in the same process once the role has credentials",
    "back": "its credentials expired while the daemon was down; it writes and reads in the same process when the daemon is back",
    "rotated": "writes and reads after its token was replaced",
    "refused": "with a wrong token it gets nothing, and says so",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Client:
    name: str
    sdk: str
    command: list  # with {python}, {dir} and {here}
    install: dict = dataclasses.field(default_factory=dict)  # one entry: kind → what; none: nothing to install
    needs: list = dataclasses.field(default_factory=list)  # commands that have to be on the path
    environment: dict = dataclasses.field(default_factory=dict)  # what this client needs besides
    quick: bool = False
    account: str = "ours"  # whose role and bucket: `ours`, or `other`
    note: str = ""
    limits: dict = dataclasses.field(default_factory=dict)  # step → why it cannot, from its source


def everybody():
    clients = [read(path) for path in sorted((HERE / "cast").glob("*.toml"))]
    return sorted(clients, key=lambda client: client.sdk.lower())


def read(path):
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
        client = Client(name=path.stem, **told)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise Failure(f"{path.name} is not an entry of the cast: {error}") from None
    if unknown := set(client.limits) - set(STEPS):
        raise Failure(f"{path.name} limits {', '.join(sorted(unknown))}; the steps are {', '.join(STEPS)}")
    if len(client.install) > 1:
        raise Failure(f"{path.name} installs in more than one way")
    return client


def choose(clients, names, all_of_them):
    if names is None:
        return [client for client in clients if client.quick or all_of_them]
    wanted = names.split(",")
    if unknown := set(wanted) - {client.name for client in clients}:
        raise Failure(f"no client is called {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in clients)}")
    return [client for client in clients if client.name in wanted]
