// esgz-check looks at a blob with containerd's own estargz library, the code that lazy clients run, so that tests
// compare hotlayer with something hotlayer's authors did not write. Results are JSON on stdout.
//
//	esgz-check open BLOB TOCDIGEST         verify the TOC, list the tree, read every file through the lazy reader
//	esgz-check build TAR OUT [PATH...]     estargz.Build with these prioritized paths (missing ones allowed)
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	digest "github.com/opencontainers/go-digest"
)

type chunk struct {
	Offset      int64  `json:"offset"`
	NextOffset  int64  `json:"nextOffset"`
	ChunkOffset int64  `json:"chunkOffset"`
	ChunkSize   int64  `json:"chunkSize"`
	ChunkDigest string `json:"chunkDigest"`
	Verified    bool   `json:"verified"`
}

type node struct {
	Path     string            `json:"path"`
	Type     string            `json:"type"`
	Size     int64             `json:"size"`
	Mode     int64             `json:"mode"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	Uname    string            `json:"uname"`
	ModTime  string            `json:"modtime"`
	LinkName string            `json:"linkName"`
	DevMajor int               `json:"devMajor"`
	DevMinor int               `json:"devMinor"`
	NumLink  int               `json:"numLink"`
	Xattrs   map[string][]byte `json:"xattrs"`
	Digest   string            `json:"digest"`
	Sha256   string            `json:"sha256"`
	Chunks   []chunk           `json:"chunks"`
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func section(name string) *io.SectionReader {
	f, err := os.Open(name)
	if err != nil {
		fail(err)
	}
	st, err := f.Stat()
	if err != nil {
		fail(err)
	}
	return io.NewSectionReader(f, 0, st.Size())
}

func open(name, toc string) {
	r, err := estargz.Open(section(name))
	if err != nil {
		fail(err)
	}
	v, err := r.VerifyTOC(digest.Digest(toc))
	if err != nil {
		fail(err)
	}
	var nodes []node
	var walk func(p string, e *estargz.TOCEntry)
	walk = func(p string, e *estargz.TOCEntry) {
		n := node{Path: p, Type: e.Type, Size: e.Size, Mode: e.Mode, UID: e.UID, GID: e.GID, Uname: e.Uname, ModTime: e.ModTime3339, LinkName: e.LinkName,
			DevMajor: e.DevMajor, DevMinor: e.DevMinor, NumLink: e.NumLink, Xattrs: e.Xattrs, Digest: e.Digest}
		if e.Type == "reg" {
			sr, err := r.OpenFile(p)
			if err != nil {
				fail(err)
			}
			whole := sha256.New()
			// Chunk by chunk, as the snapshotter does: it fetches, verifies and caches one chunk at a time.
			for at := int64(0); at < e.Size; {
				ce, ok := r.ChunkEntryForOffset(p, at)
				if !ok {
					fail(fmt.Errorf("%s: no chunk for offset %d", p, at))
				}
				body := make([]byte, ce.ChunkSize)
				if _, err := sr.ReadAt(body, ce.ChunkOffset); err != nil {
					fail(fmt.Errorf("%s: chunk at %d: %v", p, ce.ChunkOffset, err))
				}
				cv, err := v.Verifier(ce)
				if err != nil {
					fail(err)
				}
				cv.Write(body)
				whole.Write(body)
				n.Chunks = append(n.Chunks, chunk{ce.Offset, ce.NextOffset(), ce.ChunkOffset, ce.ChunkSize, ce.ChunkDigest, cv.Verified()})
				at = ce.ChunkOffset + ce.ChunkSize
			}
			n.Sha256 = hex.EncodeToString(whole.Sum(nil))
		}
		nodes = append(nodes, n)
		e.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
			walk(path.Join(p, base), child)
			return true
		})
	}
	root, ok := r.Lookup("")
	if !ok {
		fail(fmt.Errorf("no root"))
	}
	walk("", root)
	json.NewEncoder(os.Stdout).Encode(nodes)
}

func build(in, out string, prioritized []string) {
	missed := []string{}
	b, err := estargz.Build(section(in), estargz.WithPrioritizedFiles(prioritized), estargz.WithAllowPrioritizeNotFound(&missed))
	if err != nil {
		fail(err)
	}
	defer b.Close()
	f, err := os.Create(out)
	if err != nil {
		fail(err)
	}
	if _, err := io.Copy(f, b); err != nil {
		fail(err)
	}
	if err := f.Close(); err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"tocDigest": b.TOCDigest().String(), "diffId": b.DiffID().String(), "missed": missed})
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "open" {
		open(os.Args[2], os.Args[3])
	} else if len(os.Args) >= 4 && os.Args[1] == "build" {
		build(os.Args[2], os.Args[3], os.Args[4:])
	} else {
		fail(fmt.Errorf("usage: esgz-check open BLOB TOCDIGEST | build TAR OUT [PATH...]"))
	}
}
