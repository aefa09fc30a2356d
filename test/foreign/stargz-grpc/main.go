// The lazy client's daemon. Debian packages the snapshotter's library and its command ctr-remote, but not the daemon
// that containerd talks to; this program is that daemon and nothing more: it joins the library's file system with its
// snapshotter and serves both as containerd's snapshots API on a unix socket. All that the tests observe is the
// library's own behaviour.
//
//	stargz-grpc -socket PATH -state DIR [-config FILE.toml] [-metrics HOST:PORT] [-ready FILE]
//
// FILE.toml has the keys of the library's fs/config.Config. The log goes to stderr, one JSON object a line, level debug.
// Registries on loopback are asked over plain http, all others over https. -ready is written once the socket answers; it
// holds the address of the metrics, so that port 0 may be asked for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/reference"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/containerd/stargz-snapshotter/snapshot"
	metrics "github.com/docker/go-metrics"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/pelletier/go-toml"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
)

// A registry that does not answer within this time is given up.
const requestTimeout = 30 * time.Second

type settings struct {
	socket, state, config, metrics, ready string
}

func main() {
	var s settings
	flag.StringVar(&s.socket, "socket", "", "unix socket to serve on")
	flag.StringVar(&s.state, "state", "", "directory for snapshots and caches")
	flag.StringVar(&s.config, "config", "", "configuration of the file system, TOML")
	flag.StringVar(&s.metrics, "metrics", "", "address for Prometheus metrics")
	flag.StringVar(&s.ready, "ready", "", "file to write when the socket answers")
	flag.Parse()

	logrus.SetLevel(logrus.DebugLevel)
	logrus.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, s); err != nil {
		logrus.WithError(err).Fatal("stargz-grpc")
	}
}

func serve(ctx context.Context, s settings) error {
	snapshotter, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer snapshotter.Close() // unmounts the layers
	address := ""
	if s.metrics != "" {
		listener, err := net.Listen("tcp", s.metrics)
		if err != nil {
			return err
		}
		defer listener.Close()
		address = listener.Addr().String()
		go http.Serve(listener, metrics.Handler())
	}
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if s.ready != "" {
		// Renamed into place, so that whoever waits for it never reads half of it.
		if err := os.WriteFile(s.ready+".new", []byte(address), 0o600); err != nil {
			return err
		}
		if err := os.Rename(s.ready+".new", s.ready); err != nil {
			return err
		}
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		server.Stop()
		return nil
	}
}

func open(ctx context.Context, s settings) (snapshots.Snapshotter, error) {
	if s.socket == "" || s.state == "" {
		return nil, errors.New("-socket and -state are needed")
	}
	var options config.Config
	if s.config != "" {
		document, err := toml.LoadFile(s.config)
		if err != nil {
			return nil, err
		}
		if err := document.Unmarshal(&options); err != nil {
			return nil, fmt.Errorf("%s: %w", s.config, err)
		}
	}
	lazy, err := fs.NewFilesystem(filepath.Join(s.state, "fs"), options, fs.WithGetSources(source.FromDefaultLabels(hosts)))
	if err != nil {
		return nil, err
	}
	return snapshot.NewSnapshotter(ctx, filepath.Join(s.state, "snapshots"), lazy, snapshot.AsynchronousRemove)
}

// hosts says how to reach the registry that an image's name begins with: the one host, no mirrors, no credentials.
func hosts(name reference.Spec) ([]docker.RegistryHost, error) {
	retrying := retryablehttp.NewClient()
	retrying.Logger = nil
	client := retrying.StandardClient()
	client.Timeout = requestTimeout
	scheme := "https"
	if loopback, _ := docker.MatchLocalhost(name.Hostname()); loopback {
		scheme = "http"
	}
	return []docker.RegistryHost{{
		Client:       client,
		Host:         name.Hostname(),
		Scheme:       scheme,
		Path:         "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
	}}, nil
}
