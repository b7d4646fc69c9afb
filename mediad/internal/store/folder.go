package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is a store in a folder, which must be there: one that is not mounted
// is not made.
type Folder struct {
	root string
}

// NewFolder returns the store in a folder.
func NewFolder(root string) *Folder { return &Folder{root} }

func (s *Folder) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// Put copies f, from its beginning, to name.
func (s *Folder) Put(ctx context.Context, name string, f *os.File) error {
	if err := s.put(name, f); err != nil {
		return fmt.Errorf("put %s into %s: %w", name, s.root, err)
	}
	return nil
}

func (s *Folder) put(name string, f *os.File) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Stat(s.root); err != nil {
		return err
	}
	path := s.path(name)
	if again, err := sameSize(path, f); err != nil {
		return err
	} else if again {
		return s.overwrite(path, f)
	}
	dir := filepath.Dir(path)
	if err := s.makeDir(dir); err != nil {
		return err
	}
	// One name for all tries: what a crash leaves, the next try overwrites.
	part := filepath.Join(dir, "."+filepath.Base(path)+".part")
	out, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want, err := sumOf(io.TeeReader(f, out))
	if err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := s.compare(part, want); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func sameSize(path string, f *os.File) (bool, error) {
	old, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	return err == nil && info.Size() == old.Size(), err
}

// overwrite puts f over an object of the same size, in place: blocks that a
// renamed file leaves behind would keep the keys that were in it. Slots of keys
// are one sector each, so that a crash leaves old and new ones, and no half one.
func (s *Folder) overwrite(path string, f *os.File) error {
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want, err := sumOf(io.TeeReader(f, out))
	if err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return s.compare(path, want)
}

// makeDir makes a folder below the root, durably.
func (s *Folder) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) && len(dir) > len(s.root) {
		if err := s.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func (s *Folder) compare(path string, want [32]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := sumOf(f)
	if err != nil {
		return err
	}
	if got != want {
		return ErrDiffers
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get writes an object to w, or returns fs.ErrNotExist.
func (s *Folder) Get(ctx context.Context, name string, w io.Writer) error {
	if err := checkName(name); err != nil {
		return err
	}
	f, err := os.Open(s.path(name))
	if err != nil {
		return fmt.Errorf("get from store: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("get from store: %w", err)
	}
	return nil
}

// Has tells whether there is an object.
func (s *Folder) Has(ctx context.Context, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	_, err := os.Stat(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		// Not there is one thing, a store that is not there another.
		_, err = os.Stat(s.root)
		return false, err
	}
	return err == nil, err
}

// List returns the names that begin with prefix, sorted.
func (s *Folder) List(ctx context.Context, prefix string) (names []string, err error) {
	if _, err := os.Stat(s.root); err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	top := s.root
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		top = s.path(prefix[:i])
	}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == top {
			return filepath.SkipAll
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		if name := filepath.ToSlash(rel); strings.HasPrefix(name, prefix) && checkName(name) == nil {
			names = append(names, name)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Delete removes an object; one that is not there is removed already.
func (s *Folder) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Stat(s.root); err != nil {
		return fmt.Errorf("delete from store: %w", err)
	}
	path := s.path(name)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("delete from store: %w", err)
	}
	return nil
}
