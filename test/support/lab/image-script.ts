// How the lab's images get their three layers: shell, run as root in a mount namespace of its own. The work is done on a
// tmpfs: it is gone with the namespace, and it may be an overlay's upper directory everywhere.

/** $1: the tar to write; $2: one apt sources file, or "" for mmdebstrap's own choice. */
export const BASE_SCRIPT = `set -eu
mount -t tmpfs -o mode=1777,size=90% lab /mnt; export TMPDIR=/mnt
mmdebstrap --quiet --mode=root --variant=minbase \\
  --aptopt='Acquire::Retries "3"' \\
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \\
  --dpkgopt='path-exclude=/usr/share/locale/*' \\
  bookworm "$1" \${2:+"$2"}
`;

/**
 * $1: where layer-1.tar and layer-2.tar are written; $2: tar of layer 0; $3: apt sources file or ""; $4: shell for the
 * last layer, run in the root directory; the rest: packages of the middle layer.
 *
 * The overlay's options keep every deletion and every replaced directory visible in the upper directory.
 */
export const LAYERS_SCRIPT = `set -eu
out=$1 base=$2 sources=$3 app=$4; shift 4
w=/mnt
mount -t tmpfs -o mode=755,size=90% lab "$w"
mkdir "$w/0" "$w/1" "$w/2" "$w/work" "$w/root"
tar -C "$w/0" --numeric-owner --xattrs --xattrs-include='*' -xpf "$base"

stack() { # LOWERS UPPER
  rm -rf "$w/work"; mkdir "$w/work"
  mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$w/work,redirect_dir=off,metacopy=off,index=off" overlay "$w/root"
}
pack() { # UPPER TAR: overlayfs's marks of what is gone become the image format's
  find "$1" -type c | while IFS= read -r f; do
    if [ "$(stat -c %t:%T "$f")" = 0:0 ]; then rm "$f"; : >"\${f%/*}/.wh.\${f##*/}"; fi
  done
  find "$1" -mindepth 1 -type d | while IFS= read -r d; do
    if getfattr -n trusted.overlay.opaque "$d" >/dev/null 2>&1; then : >"$d/.wh..wh..opq"; fi
  done
  (cd "$1" && tar --sort=name --numeric-owner --xattrs --xattrs-include=security.capability -cf "$2" -- $(ls -A))
}

r=$w/root
stack "$w/0" "$w/1"
cp -L /etc/resolv.conf "$r/etc/resolv.conf"
if [ -n "$sources" ]; then
  mkdir -p "$r/etc/apt/sources.list.d"; cp "$sources" "$r/etc/apt/sources.list.d/"; : >"$r/etc/apt/sources.list"
fi
mkdir -p "$r/usr/share/man/man1" # some packages' scripts want it, and minbase has no manuals
printf '#!/bin/sh\\nexit 101\\n' >"$r/usr/sbin/policy-rc.d"; chmod +x "$r/usr/sbin/policy-rc.d"
mount -t proc proc "$r/proc"; mount --rbind /dev "$r/dev"
export DEBIAN_FRONTEND=noninteractive
chroot "$r" apt-get -qq -o Acquire::Retries=3 update
chroot "$r" apt-get -qq -o Acquire::Retries=3 install -y --no-install-recommends "$@"
chroot "$r" apt-get clean
umount -R "$r/dev" "$r/proc"
rm -rf "$r"/var/lib/apt/lists/* "$r"/var/cache/apt/*.bin "$r/usr/sbin/policy-rc.d" "$r/etc/resolv.conf"
umount "$r"
stack "$w/1:$w/0" "$w/2"
(cd "$r" && eval "$app")
umount "$r"

# Only now: as a lower directory, the upper one has to have overlayfs's own marks.
pack "$w/1" "$out/layer-1.tar"
pack "$w/2" "$out/layer-2.tar"
`;
