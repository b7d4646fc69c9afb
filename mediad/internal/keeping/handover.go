package keeping

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
)

// sealed are the names of the segments that wait for the store, oldest first,
// and their bytes.
func (k *Keeper) sealed() (names []string, bytes int64, err error) {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list recordings: %w", err)
	}
	for _, e := range entries {
		if _, ok := record.Created(e.Name()); !ok || !strings.HasSuffix(e.Name(), record.SealedSuffix) {
			continue
		}
		names = append(names, record.SegmentName(e.Name()))
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return names, bytes, nil
}

// HandOver puts all sealed segments into the store, oldest first, and frees them
// here. It returns how many.
func (k *Keeper) HandOver(ctx context.Context) (n int, err error) {
	if k.cfg.Store == nil {
		return 0, nil
	}
	names, bytes, err := k.sealed()
	if err != nil {
		return 0, err
	}
	for i, segment := range names {
		storePending.Store(int64(len(names) - i))
		storePendingBytes.Store(bytes)
		size, err := k.handOver(ctx, segment)
		if err != nil {
			return n, err
		}
		n++
		bytes -= size
	}
	storePending.Store(0)
	storePendingBytes.Store(0)
	return n, nil
}

func (k *Keeper) handOver(ctx context.Context, segment string) (size int64, err error) {
	path := k.path(segment, record.SealedSuffix)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // removed since it was listed
	}
	if err != nil {
		return 0, fmt.Errorf("hand over: %w", err)
	}
	if err := k.put(ctx, segment, record.SealedSuffix); err != nil {
		return 0, err
	}
	if err := k.step("segment is in the store"); err != nil {
		return 0, err
	}
	// No key may be destroyed between the copy of the key file and the moment
	// from which destruction looks for it in the store.
	unlock, err := ledger.Lock(ctx, k.cfg.Dir)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if table, err := record.ReadTable(k.path(segment, record.KeysSuffix)); errors.Is(err, fs.ErrNotExist) || err == nil && table.Empty() {
		return 0, k.remove(ctx, segment) // its last key was destroyed meanwhile
	}
	if err := k.put(ctx, segment, record.KeysSuffix); err != nil {
		return 0, err
	}
	if err := k.step("keys are in the store"); err != nil {
		return 0, err
	}
	if err := os.Remove(path); err != nil {
		return 0, fmt.Errorf("free segment: %w", err)
	}
	if err := record.SyncDir(k.cfg.Dir); err != nil {
		return 0, err
	}
	storeSegments.Inc()
	storeBytes.Add(int(info.Size()))
	k.cfg.Logger.Info("segment handed over", "segment", segment, "bytes", info.Size())
	return info.Size(), nil
}

// adopt fetches the key files of segments that only the store knows: of a folder
// that was lost. The ledger's lock is held.
func (k *Keeper) adopt(ctx context.Context) error {
	if k.cfg.Store == nil || k.adopted {
		return nil
	}
	names, err := k.cfg.Store.List(ctx, k.cfg.Worker+"/")
	if err != nil {
		return err
	}
	n := 0
	for _, name := range names {
		segment := record.SegmentName(name)
		if _, ok := record.Created(segment); !ok || !strings.HasSuffix(name, record.KeysSuffix) || exists(k.path(segment, record.KeysSuffix)) {
			continue
		}
		if err := k.fetch(ctx, name, k.path(segment, record.KeysSuffix)); err != nil {
			return err
		}
		n++
	}
	if n > 0 {
		if err := record.SyncDir(k.cfg.Dir); err != nil {
			return err
		}
		k.cfg.Logger.Warn("key files of a lost folder fetched from the store", "segments", n)
	}
	k.adopted = true
	return nil
}

// fetch brings an object here; it has its name when it is whole.
func (k *Keeper) fetch(ctx context.Context, name, path string) error {
	f, err := os.CreateTemp(k.cfg.Dir, ".fetch-*")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // nothing is there once it has its own name
	defer f.Close()
	if err := k.cfg.Store.Get(ctx, name, f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return nil
}

// restoreLedger fetches the ledger of a folder that was lost.
func (k *Keeper) restoreLedger(ctx context.Context) error {
	if k.cfg.Store == nil {
		return nil
	}
	if have, err := ledger.Files(k.cfg.Dir); err != nil || len(have) > 0 {
		return err
	}
	unlock, err := ledger.Lock(ctx, k.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if have, err := ledger.Files(k.cfg.Dir); err != nil || len(have) > 0 {
		return err // somebody else was first
	}
	names, err := k.cfg.Store.List(ctx, k.cfg.Worker+"/ledger-")
	if err != nil {
		return err
	}
	// The newest last: while it is not there, the folder counts as lost, or the
	// ledger as damaged.
	for _, name := range names {
		if err := k.fetch(ctx, name, filepath.Join(k.cfg.Dir, filepath.Base(name))); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		k.cfg.Logger.Warn("ledger of a lost folder fetched from the store", "files", len(names))
		return record.SyncDir(k.cfg.Dir)
	}
	return nil
}

// publishLedger copies to the store what the ledger has got. The lock is held.
func (k *Keeper) publishLedger(ctx context.Context) error {
	if k.cfg.Store == nil {
		return nil
	}
	paths, err := ledger.Files(k.cfg.Dir)
	if err != nil {
		return err
	}
	for i, path := range paths {
		if path <= k.settled {
			continue
		}
		if err := k.putFile(ctx, path, k.cfg.Worker+"/"+filepath.Base(path)); err != nil {
			return err
		}
		if i < len(paths)-1 {
			k.settled = path
		}
	}
	return nil
}
