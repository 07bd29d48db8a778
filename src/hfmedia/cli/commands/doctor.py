"""``hfmedia doctor``: could a job run here, and if not, what to do. What it looks at is in checks.py."""

from __future__ import annotations

from .models import AS_JSON, PROXY, SANDBOX


def doctor(proxy: PROXY = None, sandbox: SANDBOX = False, as_json: AS_JSON = False) -> None:
    """Find out whether a job could run here: credentials, network, disk, versions; and what to do if not."""
    from msgspec import structs

    from ..diagnostics import format_check, run_checks
    from ..reporter import Reporter, strip_control
    from ..runtime import InterruptHandler, command_environment, run

    reporter = Reporter(as_json=as_json)

    async def command(interrupts: InterruptHandler) -> int:
        async with command_environment(sandbox, reporter) as environ:
            checks = await run_checks(environ, proxy)
        for check in checks:
            reporter.result(structs.asdict(check) if as_json else strip_control(format_check(check)))
        return next((check.exit_code for check in checks if check.status == "bad"), 0)

    run(command, reporter)
