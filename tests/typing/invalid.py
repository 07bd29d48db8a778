"""Wrong uses of the public names: each line is an error to both type checkers, and each is expected here.

A line that a checker would accept fails the test, since its ignore would be unused.
"""

import hfmedia


async def wrong(client: hfmedia.MediaClient) -> None:
    await client.text_to_image("a fox", sed=7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.text_to_image("a fox", num_frames=81)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.text_to_image("a fox", "a/b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.text_to_image("a fox", seed="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.text_to_image()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    hfmedia.text_to_image("a fox", sed=7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    hfmedia.text_to_video("waves", width="640")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hfmedia.generate("a fox", n="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hfmedia.MediaClient("hf_x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    hfmedia.MediaClient(tokn="hf_x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    _ = hfmedia.text_to_imgae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    _ = hfmedia.mapping("a/b").providers  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
