#!/bin/bash
# install_tools.sh [build|test|arm]: installs the Debian packages that are missing for
#   build  pip install .
#   test   (the default) all of tests/run
#   arm    the 32-bit ARM preset as well
# Asks apt-get only if something is missing; needs root or sudo then.
set -euo pipefail

build=(g++ python3-venv python3-dev)
test=(cmake ninja-build ccache googletest libgtest-dev binutils g++-aarch64-linux-gnu qemu-user)
arm=(g++-arm-linux-gnueabihf)

case "${1:-test}" in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${build[@]}" "${test[@]}") ;;
  arm) wanted=("${build[@]}" "${test[@]}" "${arm[@]}") ;;
  *) echo "usage: install_tools.sh [build|test|arm]" >&2; exit 2 ;;
esac

installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# What a package is for may be there without the package: another compiler as c++, Python from elsewhere.
provided() {
  case "$1" in
    g++) command -v "${CXX:-c++}" >/dev/null ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    python3-dev) [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)/Python.h" ] ;;
    cmake) command -v cmake >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    *) return 1 ;;
  esac
}

missing=()
for package in "${wanted[@]}"; do
  provided "$package" || installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install_tools.sh: please install what Debian calls: ${missing[*]}" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
