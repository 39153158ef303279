"""The lint rules for operators that move a window over the data: convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from drnn_export.lint.graph_view import Site
from drnn_export.lint.sizes import FIX, differ, shapes
from drnn_export.lint.tables import Finding, Table


def _conv(site: Site, table: Table) -> Iterator[Finding]:
    """Groups, channels and the bias."""
    data, filters, bias = shapes(site, 0, 1, 2)
    if data is None or filters is None:
        return
    if len(data) != len(filters) or len(data) < 3:
        yield site.error("size", f"data of {len(data)} axes and filters of {len(filters)}", FIX)
        return
    transposed = site.node.op_type == "ConvTranspose"
    if -1 in (*data[2:], *filters) and not site.scope.is_constant(site.input(1)):
        what = "the filters are no initialiser, and axes besides batch and channels are free"
        yield site.error("input", what, "Make the filters an initialiser, or fix the axes")
    elif transposed and data[1] < 0:
        yield site.error("input", "the channels of the data are free", "Fix them")
    groups = site.attribute("group")
    groups = 1 if groups is None else groups
    if groups < 1 or min(filters[:2]) < 0:
        return  # `tables.toml` has the least number of groups
    channels, outputs = (filters[0], filters[1] * groups) if transposed else (filters[1] * groups, filters[0])
    if 0 in filters:
        yield site.error("size", f"filters {list(filters)} have no elements", FIX)
    elif differ(channels, data[1]) or filters[0] % groups:
        what = f"filters {list(filters)} with {groups} group(s) do not fit data of {data[1]} channels"
        yield site.error("size", what, FIX)
    if bias is not None and (len(bias) != 1 or differ(bias[0], outputs)):
        yield site.error("size", f"the bias is {list(bias)}, and there are {outputs} output channels", FIX)
    kernel = site.attribute("kernel_shape")
    if kernel and (len(kernel) != len(filters) - 2 or any(map(differ, kernel, filters[2:]))):
        yield site.error("size", f"kernel_shape is {kernel}, and the filters are {list(filters)}", FIX)


def _window(site: Site, table: Table) -> Iterator[Finding]:
    """How a window moves over the data."""
    data, filters = shapes(site, 0, 1)
    kernel = site.attribute("kernel_shape") or (filters and list(filters[2:])) or []
    axes, pad = len(kernel), site.attribute("auto_pad") or "NOTSET"
    pads, dilations, strides, more = (
        site.attribute(name) or [default] * count
        for name, default, count in (
            ("pads", 0, 2 * axes),
            ("dilations", 1, axes),
            ("strides", 1, axes),
            ("output_padding", 0, axes),
        )
    )
    if pad.startswith("SAME") and site.has("pads"):
        yield site.error("attribute", f"pads are not taken with auto_pad={pad}", "Leave one of them out")
    if site.node.op_type == "ConvTranspose":
        if any(add >= max(step, dilation) for add, step, dilation in zip(more, strides, dilations, strict=False)):
            yield site.error("attribute", f"output_padding={more} is not below the strides", "Use less")
        if max(strides, default=1) > 1 and max(dilations, default=1) > 1:
            what = f"strides {strides} with dilations {dilations}, for which the compiler has no kernel"
            yield site.error("attribute", what, "Use one of them")
    elif data and len(data) == axes + 2 == len(pads) // 2 + 2 and not pad.startswith("SAME"):
        padded = [size + before + after for size, before, after in zip(data[2:], pads[:axes], pads[axes:], strict=True)]
        reach = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=False)]
        is_short = any(size >= 0 and have < need for size, have, need in zip(data[2:], padded, reach, strict=False))
        if is_short and not site.attribute("ceil_mode"):
            yield site.error("size", f"a window of {reach} on padded data of {padded}", FIX)


WINDOW_RULES: dict[str, tuple[Callable[[Site, Table], Iterator[Finding]], ...]] = {
    "AveragePool": (_window,),
    "Conv": (_conv, _window),
    "ConvTranspose": (_conv, _window),
    "LpPool": (_window,),
    "MaxPool": (_window,),
}
