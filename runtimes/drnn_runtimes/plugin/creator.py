"""The plugin for NVIDIA's modules: IPluginV3 classes in Python, registered for as long as they are needed.

What NVIDIA's objects call must not raise: an exception there reaches nobody. So each keeps the first one, and whoever
built or loaded the engine asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from drnn_core.errors import DeployError, EngineError
from drnn_runtimes.bundle.functions import DOMAIN, OPERATOR
from drnn_runtimes.plugin.carried import REBUILD, CarriedKernel
from drnn_runtimes.plugin.launch import StackLauncher, workspace_bytes
from drnn_runtimes.plugin.stack import VERSION, Stack

Check = Callable[[CarriedKernel], str]  # why a kernel that an engine holds must not be loaded, or ""
Launch = Callable[[CarriedKernel], StackLauncher]


class Registered:
    """What became of the plugins of a registered creator.

    Attributes:
        error: The first thing that went wrong in one of them, or None.
        plugins: Those that were made, in order.
    """

    def __init__(self) -> None:
        self.error: DeployError | None = None
        self.plugins: list[Any] = []

    def kept(self, error: Exception) -> None:
        """Keep an error, unless there is one before it."""
        if not isinstance(error, DeployError):
            error = EngineError(f"the plugin failed: {type(error).__name__}: {error}", REBUILD)
        self.error = self.error or error

    def raise_error(self) -> None:
        """Raise what went wrong.

        Raises:
            DeployError: Something did.
        """
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def building_with(module: Any, kernel: CarriedKernel) -> Iterator[Registered]:
    """Let NVIDIA's parser find the plugin, which carries a kernel into the engine.

    Args:
        module: NVIDIA's.
        kernel: What the engine is to hold.
    """

    def create(fields: Mapping[str, Any]) -> CarriedKernel:
        stack = Stack.from_attributes(fields)
        if stack != kernel.stack:
            raise EngineError("the node of the stack is of another network than the kernel", REBUILD)
        return kernel

    with _registered(module, create, StackLauncher.here) as registered:
        yield registered


@contextlib.contextmanager
def loading_with(module: Any, check: Check, launch: Launch = StackLauncher.here) -> Iterator[Registered]:
    """Let NVIDIA's runtime find the plugin while it loads an engine with a kernel inside.

    Args:
        module: NVIDIA's.
        check: Says why the kernel that the engine holds must not be loaded, or "".
        launch: Loads the kernel on the GPU.
    """

    def create(fields: Mapping[str, Any]) -> CarriedKernel:
        kernel = CarriedKernel.from_fields({name: np.asarray(value) for name, value in fields.items()})
        if problem := check(kernel):
            raise EngineError(problem, REBUILD)
        return kernel

    with _registered(module, create, launch) as registered:
        yield registered


@contextlib.contextmanager
def _registered(
    module: Any, create: Callable[[Mapping[str, Any]], CarriedKernel], launch: Launch
) -> Iterator[Registered]:
    registered = Registered()
    creator = _creator(module, create, launch, registered)
    registry = module.get_plugin_registry()
    if not registry.register_creator(creator, DOMAIN):
        raise EngineError(f"{module.__name__} does not register the plugin {DOMAIN}::{OPERATOR}", "")
    try:
        yield registered
    finally:  # a parser that meets the plugin in another place would end the process where a library is missing
        registry.deregister_creator(creator)


def _creator(
    module: Any, create: Callable[[Mapping[str, Any]], CarriedKernel], launch: Launch, registered: Registered
) -> Any:
    plugin_class = _plugin_class(module, launch, registered)

    class Creator(module.IPluginCreatorV3One):  # type: ignore[misc]  # NVIDIA's modules carry no types
        def __init__(self) -> None:
            module.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_namespace, self.plugin_version = OPERATOR, DOMAIN, VERSION
            self.field_names = _collection(module, _attribute_fields(module))

        def create_plugin(self, name: str, fields: Any, phase: Any) -> Any:
            try:
                kernel = create({field.name: field.data for field in fields})
                registered.plugins.append(plugin_class(kernel))
                return registered.plugins[-1]
            except Exception as error:
                registered.kept(error)
                return None

    return Creator()


def _plugin_class(module: Any, launch: Launch, registered: Registered) -> Any:
    bases = (module.IPluginV3, module.IPluginV3OneCore, module.IPluginV3OneBuild, module.IPluginV3OneRuntime)

    class Plugin(*bases):  # type: ignore[misc]
        def __init__(self, kernel: CarriedKernel) -> None:
            for base in bases:
                base.__init__(self)
            self.kernel = kernel
            self.launcher: StackLauncher | None = None
            self.plugin_name, self.plugin_namespace, self.plugin_version = OPERATOR, DOMAIN, VERSION
            self.names_in, self.names_out = kernel.stack.inputs_and_outputs()
            self.num_outputs = len(self.names_out)
            self.serialised = {name: value.copy() for name, value in kernel.fields().items()}

        def get_capability_interface(self, kind: Any) -> Any:
            return self

        def clone(self) -> Any:
            return type(self)(self.kernel)

        def get_output_data_types(self, types: Any) -> Any:
            return [module.float32] * self.num_outputs

        def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> Any:
            top = module.DimsExprs(3)
            stack = self.kernel.stack
            top[0], top[1], top[2] = inputs[0][0], builder.constant(stack.answers), builder.constant(stack.hidden[-1])
            return [top, *(module.DimsExprs(line) for line in inputs[2:])]

        def supports_format_combination(self, position: int, described: Any, inputs: int) -> bool:
            wanted = module.int32 if position == 1 else module.float32
            here = described[position].desc
            return bool(here.type == wanted and here.format == module.TensorFormat.LINEAR)

        def configure_plugin(self, inputs: Any, outputs: Any) -> None:
            pass

        def on_shape_change(self, inputs: Any, outputs: Any) -> None:
            pass

        def get_valid_tactics(self) -> Any:
            return []

        def set_tactic(self, tactic: int) -> None:
            pass

        def get_fields_to_serialize(self) -> Any:
            kinds = {"int8": module.PluginFieldType.INT8, "int32": module.PluginFieldType.INT32}
            fields = [module.PluginField(n, value, kinds[value.dtype.name]) for n, value in self.serialised.items()]
            return _collection(module, fields)

        def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
            stack = self.kernel.stack
            plans = map(stack.plan, self.kernel.images)
            return max(workspace_bytes(stack, plan, int(inputs[0].max[0])) for plan in plans)

        def attach_to_context(self, context: Any) -> Any:
            attached = self.clone()
            try:
                attached.launcher = launch(self.kernel)
            except Exception as error:
                registered.kept(error)
                return None
            return attached

        def enqueue(self, described: Any, given: Any, inputs: Any, outputs: Any, workspace: int, stream: int) -> None:
            try:
                if self.launcher is None:
                    raise EngineError("the plugin was not attached to a context")
                batch, steps, _ = tuple(described[0].dims)
                self.launcher.run(list(inputs), list(outputs), batch, steps, workspace, stream)
            except Exception as error:  # of a launch that the driver refuses
                registered.kept(error)
                raise

    return Plugin


def _attribute_fields(module: Any) -> list[Any]:
    """The attributes that NVIDIA's parser hands over, with the type of each."""
    example = Stack("rnn", "tanh", "after", 1, (1,), (1,), 1, False, True, "fp32").attributes()
    text = module.PluginFieldType.CHAR
    kinds = {name: text if isinstance(value, str) else module.PluginFieldType.INT32 for name, value in example.items()}
    return [module.PluginField(name, np.array([], np.int32), kind) for name, kind in kinds.items()]


def _collection(module: Any, fields: list[Any]) -> Any:
    return module.PluginFieldCollection(fields)
