package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// service is an S3 server with a hand on it.
type service struct {
	backend *s3mem.Backend
	url     *url.URL

	mu     sync.Mutex
	puts   int
	before func(w http.ResponseWriter, r *http.Request) bool // true: dealt with
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{backend: s3mem.New()}
	if err := s.backend.CreateBucket("calls"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(s.backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if r.Method == http.MethodPut {
			s.puts++
		}
		before := s.before
		s.mu.Unlock()
		if before == nil || !before(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s.url, _ = url.Parse(server.URL)
	return s
}

func (s *service) open(t *testing.T, bucket string) *S3 {
	t.Helper()
	c, err := NewS3(S3Config{Endpoint: s.url, Bucket: bucket, AccessKey: "a", SecretKey: "b", Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fileOf(t *testing.T, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What is put is there, under its name, until it is deleted; in a folder as in a
// bucket.
func TestWhatIsPutIsThere(t *testing.T) {
	ctx := context.Background()
	large := make([]byte, 24<<20)
	rand.Read(large)
	check := func(kind string, put func(string, *os.File) error, get func(string) ([]byte, error), has func(string) (bool, error),
		list func(string) ([]string, error), remove func(string) error) {
		t.Run(kind, func(t *testing.T) {
			for name, content := range map[string][]byte{"m1/a.seg": large, "m1/a.keys": []byte("keys"), "m2/b.keys": []byte("b")} {
				f := fileOf(t, content)
				for range 2 { // a repeat changes nothing
					if err := put(name, f); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := get(name); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
			if err := put("m1/a.keys", fileOf(t, []byte("noise and more"))); err != nil {
				t.Fatal(err)
			}
			if got, _ := get("m1/a.keys"); string(got) != "noise and more" {
				t.Errorf("overwritten: %q", got)
			}
			if names, err := list("m1/"); err != nil || !slices.Equal(names, []string{"m1/a.keys", "m1/a.seg"}) {
				t.Errorf("%v, %v", names, err)
			}
			if names, err := list("m3/"); err != nil || len(names) > 0 {
				t.Errorf("%v, %v", names, err)
			}
			for range 2 {
				if err := remove("m1/a.keys"); err != nil {
					t.Error(err)
				}
			}
			if there, err := has("m1/a.keys"); there || err != nil {
				t.Errorf("%v, %v", there, err)
			}
			if there, err := has("m1/a.seg"); !there || err != nil {
				t.Errorf("%v, %v", there, err)
			}
			if _, err := get("m1/a.keys"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
			for _, name := range []string{"", ".", "../a", "/a", "a/../b", "m1/.hidden"} {
				if err := put(name, fileOf(t, nil)); !errors.Is(err, ErrName) {
					t.Errorf("%q: %v", name, err)
				}
			}
		})
	}
	folder := NewFolder(t.TempDir())
	check("folder", func(n string, f *os.File) error { return folder.Put(ctx, n, f) },
		func(n string) ([]byte, error) {
			var b bytes.Buffer
			err := folder.Get(ctx, n, &b)
			return b.Bytes(), err
		},
		func(n string) (bool, error) { return folder.Has(ctx, n) },
		func(p string) ([]string, error) { return folder.List(ctx, p) },
		func(n string) error { return folder.Delete(ctx, n) })
	bucket := newService(t).open(t, "calls")
	check("bucket", func(n string, f *os.File) error { return bucket.Put(ctx, n, f) },
		func(n string) ([]byte, error) {
			var b bytes.Buffer
			err := bucket.Get(ctx, n, &b)
			return b.Bytes(), err
		},
		func(n string) (bool, error) { return bucket.Has(ctx, n) },
		func(p string) ([]string, error) { return bucket.List(ctx, p) },
		func(n string) error { return bucket.Delete(ctx, n) })
}

// A process that died after it had sent an object does not send it again; one
// whose object came out otherwise does.
func TestAnObjectThatIsThereIsNotSentAgain(t *testing.T) {
	s := newService(t)
	b := s.open(t, "calls")
	f := fileOf(t, []byte("a segment"))
	if err := b.Put(context.Background(), "m1/a.seg", f); err != nil {
		t.Fatal(err)
	}
	if err := s.open(t, "calls").Put(context.Background(), "m1/a.seg", f); err != nil {
		t.Fatal(err)
	}
	if s.puts != 1 {
		t.Errorf("sent %d times", s.puts)
	}
}

// What comes back differs by a byte: Put says so, and nobody frees anything.
func TestBytesThatChangeInTheStoreAreFound(t *testing.T) {
	s := newService(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".seg") {
			return false
		}
		w.Header().Set("Content-Length", "9")
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", "Sun, 01 Mar 2026 09:00:00 GMT")
		w.Write([]byte("a segmenT"))
		return true
	}
	err := s.open(t, "calls").Put(context.Background(), "m1/a.seg", fileOf(t, []byte("a segment")))
	if !errors.Is(err, ErrDiffers) {
		t.Errorf("%v", err)
	}
}

// A bucket that keeps versions would keep every key that is destroyed.
func TestABucketWithVersionsIsRefused(t *testing.T) {
	s := newService(t)
	if err := s.backend.SetVersioningConfiguration("calls", gofakes3.VersioningConfiguration{Status: gofakes3.VersioningEnabled}); err != nil {
		t.Fatal(err)
	}
	b := s.open(t, "calls")
	if err := b.Put(context.Background(), "m1/a.keys", fileOf(t, []byte("x"))); !errors.Is(err, ErrVersions) {
		t.Errorf("put: %v", err)
	}
	if err := b.Delete(context.Background(), "m1/a.keys"); !errors.Is(err, ErrVersions) {
		t.Errorf("delete: %v", err)
	}
	if err := s.open(t, "others").Put(context.Background(), "m1/a.keys", fileOf(t, nil)); err == nil || !strings.Contains(err.Error(), "bucket others") {
		t.Errorf("no such bucket: %v", err)
	}
}

// A folder that is not mounted is not written to, and is no empty store.
func TestAFolderThatIsNotThereIsNoStore(t *testing.T) {
	ctx := context.Background()
	s := NewFolder(filepath.Join(t.TempDir(), "absent"))
	if err := s.Put(ctx, "a", fileOf(t, nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Has(ctx, "a"); err == nil {
		t.Error("it has nothing, and nobody was told that it is not there")
	}
	if _, err := s.List(ctx, ""); err == nil {
		t.Error("it lists nothing, and nobody was told that it is not there")
	}
	if err := s.Delete(ctx, "a"); err == nil {
		t.Error("nothing was deleted, and nobody was told that it is not there")
	}
}

// Keys that are overwritten leave no block behind in which they still are: the
// file is the same one.
func TestKeysAreOverwrittenInPlace(t *testing.T) {
	root := t.TempDir()
	s := NewFolder(root)
	if err := s.Put(context.Background(), "m1/a.keys", fileOf(t, []byte("key"))); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(root, "m1", "a.keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(context.Background(), "m1/a.keys", fileOf(t, []byte("---"))); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(root, "m1", "a.keys"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("another file: %v", err)
	}
}
