#!/usr/bin/env bash
# Makes `cargo build --target wasm32-unknown-unknown` work on a fresh machine, and prints the one line
# that the caller evaluates:
#     eval "$(tools/wasm-toolchain.sh)"
#
# First choice: the standard library that rustup has for the active toolchain. Where rustup is absent
# or cannot fetch it, Debian's compiler (rustc-web, cargo-web) with a standard library that is built
# once from rust-web-src into a sysroot of its own under ~/.cache. It is linked by lld-19.
#
# WASM_TOOLCHAIN=rustup or =debian allows only that way; WASM_SYSROOT names another folder.
set -euo pipefail

TARGET=wasm32-unknown-unknown
WAY=${WASM_TOOLCHAIN:-any}
SYSROOT=${WASM_SYSROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/anthill/wasm-sysroot}
PACKAGES=(rustc-web cargo-web rust-web-src lld-19)

note() { echo "wasm-toolchain: $*" >&2; }
fail() { note "$*"; exit 1; }

# Prints the name of the active toolchain once its standard library for the target is there.
from_rustup() {
  command -v rustup >/dev/null || return 1
  local name
  name=$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1)
  [ -n "$name" ] || return 1
  timeout 180 rustup target add --toolchain "$name" "$TARGET" >&2 || return 1
  [ -d "$(rustc "+$name" --print sysroot)/lib/rustlib/$TARGET/lib" ] || return 1
  echo "$name"
}

install_packages() {
  local missing=() package run=()
  for package in "${PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "no apt-get here: install the target by rustup target add $TARGET"
  [ "$(id -u)" = 0 ] || run=(sudo)
  note "installing ${missing[*]}"
  "${run[@]}" apt-get -qq update >&2
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
    install -y --no-install-recommends "${missing[@]}" >&2
}

# Compiles an empty crate with -Z build-std, in a clean environment, and keeps the libraries of std.
build_std() {
  local scratch=$1
  mkdir -p "$scratch/empty/src"
  : > "$scratch/empty/src/lib.rs"
  printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n' \
    > "$scratch/empty/Cargo.toml"
  (cd "$scratch/empty" && env -u RUSTUP_TOOLCHAIN -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS \
    -u CARGO_BUILD_TARGET -u RUSTC_WRAPPER PATH="/usr/bin:/bin" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_DIR="$scratch/target" CARGO_PROFILE_RELEASE_DEBUG=0 \
    /usr/bin/cargo build --quiet --release --target "$TARGET" -Z build-std=std,panic_abort >&2)
}

# Lays out what rustc expects of a sysroot: std for the target, the host's own files, a linker.
lay_sysroot() {
  local scratch=$1 host=$2 library=$3/lib/rustlib
  mkdir -p "$library/$TARGET/lib" "$library/$host/bin" "$3/bin"
  find "$scratch/target/$TARGET/release/deps" -name '*.r*' \( -name '*.rlib' -o -name '*.rmeta' \) \
    ! -name 'libempty-*' -exec cp -t "$library/$TARGET/lib" {} +
  ln -s "/usr/lib/rustlib/$host/lib" "$library/$host/lib"
  ln -s /usr/bin/lld-19 "$library/$host/bin/rust-lld"
  printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$SYSROOT" > "$3/bin/rustc"
  printf '#!/bin/sh\nRUSTC="%s/bin/rustc" exec /usr/bin/cargo "$@"\n' "$SYSROOT" > "$3/bin/cargo"
  chmod +x "$3/bin/rustc" "$3/bin/cargo"
}

from_debian() {
  install_packages
  local host stamp scratch
  host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
  stamp="$(/usr/bin/rustc -V), std $(dpkg-query -W -f='${Version}' rust-web-src), layout 1"
  if [ "$(cat "$SYSROOT/stamp" 2>/dev/null)" != "$stamp" ]; then
    note "building the standard library once into $SYSROOT"
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$scratch'" EXIT
    build_std "$scratch"
    lay_sysroot "$scratch" "$host" "$scratch/sysroot"
    echo "$stamp" > "$scratch/sysroot/stamp"
    mkdir -p "$(dirname "$SYSROOT")"
    rm -rf "$SYSROOT"
    mv "$scratch/sysroot" "$SYSROOT"
  fi
  note "$stamp"
}

if [ "$WAY" != debian ]; then
  if name=$(from_rustup); then
    note "$TARGET of rustup's $name"
    echo "export RUSTUP_TOOLCHAIN=$name"
    exit 0
  fi
  [ "$WAY" = any ] || fail "rustup cannot provide $TARGET here"
  note "rustup cannot provide $TARGET here; taking Debian's compiler"
fi
from_debian
if command -v rustup >/dev/null; then
  rustup toolchain link anthill-wasm "$SYSROOT" >&2
  echo "export RUSTUP_TOOLCHAIN=anthill-wasm"
else
  echo "export PATH='$SYSROOT/bin':\"\$PATH\""
fi
