#!/bin/sh
# Install for a system package (deb, rpm, ...): the code goes to a private folder, since the import package `pytools` of
# another project owns that name among the system's Python modules.
#
#   DESTDIR=/staging PREFIX=/usr ZSHDIR=/usr/share/zsh/vendor-completions sh packaging/install.sh
set -eu
here=$(cd "$(dirname "$0")/.." && pwd -P)
prefix=${PREFIX:-/usr}
root=${DESTDIR:-}$prefix
zsh=${DESTDIR:-}${ZSHDIR:-$prefix/share/zsh/site-functions}

install -d "$root/bin" "$root/share/pytools" "$root/share/man/man1"
(cd "$here" && find pytools -type f \( -name '*.py' -o -name '*.json' -o -name py.typed \)) | while read -r file; do
    install -D -m 644 "$here/$file" "$root/share/pytools/$file"
done
cat >"$root/bin/pytools" <<EOF
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "$prefix/share/pytools")
from pytools.cli.app import main
main()
EOF
chmod 755 "$root/bin/pytools"

install -m 644 "$here"/man/*.1 "$root/share/man/man1/"
install -D -m 644 "$here/completions/pytools.bash" "$root/share/bash-completion/completions/pytools"
install -D -m 644 "$here/completions/pytools.fish" "$root/share/fish/vendor_completions.d/pytools.fish"
install -D -m 644 "$here/completions/_pytools" "$zsh/_pytools"
for file in pytools.bash pytools.fish _pytools; do
    install -D -m 644 "$here/completions/$file" "$root/share/pytools/pytools/_completions/$file"
done
