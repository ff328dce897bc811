"""Runs the signatures of .tflite models on the CPU.

>>> interpreter = sigrun.Interpreter(model_path="model.tflite")
>>> interpreter.get_signature_list()
{'encode': {'inputs': ['x'], 'outputs': ['encoded_result']}}
>>> encode = interpreter.get_signature_runner("encode")
>>> encode(x=np.array([1, 2, 3], dtype=np.float32))
{'encoded_result': array([b'1.000000', b'2.000000', b'3.000000'], dtype=object)}
"""

from sigrun._core import (
    CancelledError,
    DataError,
    DTypeError,
    Error,
    HeldViewError,
    InvalidArgumentError,
    ModelError,
    ShapeError,
    SignatureError,
    TimedOutError,
    UnsupportedOpError,
    __version__,
    build_info,
    register_op,
)
from sigrun.drop_in import stand_in
from sigrun.interpreter import (
    Delegate,
    DelegateError,
    Interpreter,
    InterpreterWithCustomOps,
    OpResolverType,
    SignatureRunner,
    load_delegate,
)
from sigrun.model import Model
from sigrun.plan import Memory, Plan
from sigrun.profile import OperatorProfile, Profile

__all__ = [
    "CancelledError",
    "DTypeError",
    "DataError",
    "Delegate",
    "DelegateError",
    "Error",
    "HeldViewError",
    "Interpreter",
    "InterpreterWithCustomOps",
    "InvalidArgumentError",
    "Memory",
    "Model",
    "ModelError",
    "OpResolverType",
    "OperatorProfile",
    "Plan",
    "Profile",
    "ShapeError",
    "SignatureError",
    "SignatureRunner",
    "TimedOutError",
    "UnsupportedOpError",
    "__version__",
    "build_info",
    "load_delegate",
    "register_op",
    "stand_in",
]
