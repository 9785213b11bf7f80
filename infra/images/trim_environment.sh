#!/bin/sh
# Removes from an environment what no program of ours reads when it runs: a third of its bytes.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)

remove() { for one in "$@"; do rm -rf "$one"; done; }

if [ -d "$packages/pyarrow" ]; then
    # headers, and clients of Flight and S3, where s3fs is ours; all else links libarrow_substrait, which stays
    remove "$packages"/pyarrow/include "$packages"/pyarrow/src "$packages"/pyarrow/tests \
        "$packages"/pyarrow/*flight* "$packages"/pyarrow/libarrow_s3* "$packages"/pyarrow/_s3fs*
fi
if [ -d "$packages/botocore/data" ]; then
    find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -rf {} +
fi
# its library for programs in C is a second copy of what Python loads
remove "$packages"/onnxruntime/capi/libonnxruntime.so.* "$packages"/onnxruntime/transformers "$packages"/onnxruntime/quantization \
    "$packages"/onnxruntime/tools
case $(ls "$packages") in
    *torch*) ;;  # torch imports parts of its own tests and headers
    *) find "$packages" -type d -name tests -prune -exec rm -rf {} + ;;
esac
find "$packages" \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' \) -delete
find "$packages" -type d -name __pycache__ -prune -exec rm -rf {} +

# Symbols for debuggers. Libraries in `*.libs` were moved by auditwheel, and strip would damage them; torch's have none.
find "$packages" \( -name '*.libs' -o -name torch -o -name nvidia \) -prune -o -type f -name '*.so*' -print |
    while read -r library; do strip --strip-unneeded "$library" 2>/dev/null || true; done
