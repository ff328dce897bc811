"""Runs the signatures of .tflite models on the CPU.

>>> interpreter = sigrun.Interpreter(model_path="model.tflite")
>>> interpreter.get_signature_list()
{'encode': {'inputs': ['x'], 'outputs': ['encoded_result']}}
>>> encode = interpreter.get_signature_runner("encode")
>>> encode(x=np.array([1, 2, 3], dtype=np.float32))
{'encoded_result': array([b'1.000000', b'2.000000', b'3.000000'], dtype=object)}
"""

from sigrun._core import InvalidArgumentError, Model, __version__, build_info
from sigrun.interpreter import Interpreter, OpResolverType, SignatureRunner
from sigrun.profile import OperatorProfile, Profile

__all__ = [
    "Interpreter",
    "InvalidArgumentError",
    "Model",
    "OpResolverType",
    "OperatorProfile",
    "Profile",
    "SignatureRunner",
    "__version__",
    "build_info",
]
