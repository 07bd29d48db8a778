"""``hfmedia doctor``: its options. The checks are in diagnostics.py."""

from __future__ import annotations

from ..options import AS_JSON, PROXY, SANDBOX


def doctor(proxy: PROXY = None, sandbox: SANDBOX = False, as_json: AS_JSON = False) -> None:
    """Check token, network, disk and versions, and say what to do about each problem."""
    from msgspec import structs

    from ..diagnostics import format_check, run_checks
    from ..reporter import Reporter
    from ..runtime import InterruptHandler, command_environment, run

    reporter = Reporter(as_json=as_json)

    async def command(interrupts: InterruptHandler) -> int:
        async with command_environment(sandbox, reporter) as environ:
            checks = await run_checks(environ, proxy)
        for check in checks:
            reporter.result(structs.asdict(check) if as_json else format_check(check))
        return next((check.exit_code for check in checks if check.status == "error"), 0)

    run(command, reporter)
