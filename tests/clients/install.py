"""Installing clients, all pinned, each only when its pins have changed. Nothing is installed into the machine itself."""

import concurrent.futures
import os
import pathlib
import shutil
import sys
import threading

from stage import Failure, install_python, install_step, left_out, locked, say, unless_unchanged

HERE = pathlib.Path(__file__).resolve().parent
APT = threading.Lock()


def install(clients, cache):
    """`(client, places)` of those that can be had, `(client, why not)` of the others."""
    ready, missing = [], []
    with locked(cache):
        recipes = {}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for client in clients:
                key = recipe(client)
                if key not in recipes:
                    recipes[key] = pool.submit(make, *key, cache)
    for client in clients:
        try:
            for tool in client.needs:
                if not shutil.which(tool):
                    raise Failure(f"{tool} is not on the path")
            target = recipes[recipe(client)].result()
        except Failure as failure:
            if client.quick:
                raise Failure(f"{client.name}: {failure}") from None
            left_out(client.name, " ".join(str(failure).split()))
            missing.append((client, str(failure)))
        else:
            ready.append((client, places(client, target)))
    return ready, missing


def recipe(client):
    for kind, what in client.install.items():
        return kind, tuple(what) if isinstance(what, list) else what
    return "nothing", ""


def places(client, target):
    """What stands for {python}, {dir} and {here} in the client's file."""
    python = target / "bin/python" if "python" in client.install else sys.executable
    return {"python": str(python), "dir": str(target), "here": str(HERE)}


def make(kind, what, cache):
    kinds = {"nothing": nothing, "python": python, "npm": npm, "cargo": cargo, "apt": apt, "script": script}
    if kind not in kinds:
        raise Failure(f"`{kind}` is no way to install; there are {', '.join(kinds)}")
    return kinds[kind](what, cache)


def nothing(_, cache):
    return cache


def python(name, cache):
    """A venv of requirements/NAME.txt, which lists every package: pip resolves nothing."""
    return install_python(cache / f"python-{name}", HERE / f"requirements/{name}.txt")


def npm(folder, cache):
    """The packages of FOLDER/package-lock.json, and beside them FOLDER's programs and their protocol, since Node.js looks
    for packages there."""
    source, target = HERE / folder, cache / f"npm-{folder.replace('/', '-')}"

    def make():
        target.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / name, target)
        install_step(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], "npm", cwd=target)

    unless_unchanged(target, [source / "package.json", source / "package-lock.json"], make)
    for program in [HERE / "js/protocol.mjs", *source.glob("*.*js")]:
        shutil.copy(program, target)
    return target


def cargo(folder, cache):
    """Builds FOLDER/Cargo.toml, locked, into {dir}/debug; cargo knows by itself what has changed."""
    target = cache / f"cargo-{folder.lstrip('./').replace('/', '-')}"
    if not target.exists():
        say(f"installing {target.name} …")
    manifest = HERE / folder / "Cargo.toml"
    build = ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target]
    install_step(build, "the Rust crate registry")
    return target


def apt(packages, cache):
    """Debian packages, each as `name=version`, unpacked into {dir}; nobody has to be root for it."""
    target = cache / f"apt-{packages[0].split('=')[0]}"

    def make():
        if not shutil.which("apt-get"):
            raise Failure("apt-get is not on the path: this client comes as a Debian package")
        (target / "archives").mkdir(parents=True)
        download = ["apt-get", "download", "--quiet", *packages]
        install_step(download, "the Debian archive", cwd=target / "archives", environment=with_apt_lists(cache))
        for package in sorted((target / "archives").glob("*.deb")):
            install_step(["dpkg-deb", "--extract", package, target], "dpkg")
        shutil.rmtree(target / "archives")

    return unless_unchanged(target, [], make, also=" ".join(packages))


def script(what, cache):
    """FOLDER/install TARGET, which does it all, anew whenever a file of FOLDER has changed."""
    source, target = HERE / what, cache / f"script-{what.replace('/', '-')}"
    pins = sorted(path for path in source.rglob("*") if path.is_file())

    def make():
        target.mkdir(parents=True)
        install_step([source / "install", target], f"what {what}/install asks for", cwd=source, environment=with_apt_lists(cache))

    return unless_unchanged(target, pins, make)


def with_apt_lists(cache):
    """An environment in which apt-get knows what the archive has today, by lists of our own: a fresh machine has none, its
    own are not ours to change, and nobody has to be root for it. Once a run."""
    lists, configuration = cache / "apt-lists", cache / "apt.conf"
    with APT:
        if with_apt_lists.known is None and shutil.which("apt-get"):
            (lists / "partial").mkdir(parents=True, exist_ok=True)
            configuration.write_text(
                f'Dir::State::lists "{lists}";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nAPT::Sandbox::User "";\n'
            )
            environment = os.environ | {"APT_CONFIG": str(configuration)}
            install_step(["apt-get", "update", "--quiet", "--error-on=any"], "the Debian archive", environment=environment)
            with_apt_lists.known = environment
    return with_apt_lists.known


with_apt_lists.known = None
