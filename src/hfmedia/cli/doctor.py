"""``hfmedia doctor``: could a job run here, and if not, what to do. What it looks at is in checks.py."""

from __future__ import annotations

from .look import AS_JSON, PROXY, SANDBOX


def doctor(proxy: PROXY = None, sandbox: SANDBOX = False, as_json: AS_JSON = False) -> None:
    """Find out whether a job could run here: credentials, network, disk, versions; and what to do if not."""
    from msgspec import structs

    from .checks import examine, line
    from .run import Stop, environment, run
    from .voice import Voice, plain

    voice = Voice(as_json=as_json)

    async def work(stop: Stop) -> int:
        async with environment(sandbox, voice) as environ:
            checks = await examine(environ, proxy)
        for check in checks:
            voice.result(structs.asdict(check) if as_json else plain(line(check)))
        return next((check.exit_code for check in checks if check.state == "bad"), 0)

    run(work, voice)
