package facts

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
)

// Digest tells whether two files hold the same for a range of log indexes: the
// facts, and the records that follow from them.
type Digest struct {
	After, Upto uint64 // the range: above After, up to and with Upto
	Facts       int
	Records     int    // of calls, legs and agents' spans
	SHA256      string // over all of their columns, in hex
}

// maxDigestFacts bounds what one Digest reads.
const maxDigestFacts = 200_000

// Digest covers the facts above after and up to upto that the file has; where
// there are more than 200 000 it ends sooner, and says so in Upto.
func (s *Store) Digest(ctx context.Context, after, upto uint64) (Digest, error) {
	if s.behind.Load() {
		return Digest{}, ErrUpgrading
	}
	after = max(after, s.floor.Load())
	upto = min(upto, s.cursor.Load())
	upto = max(upto, after)
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Digest{}, fmt.Errorf("digest of facts: %w", err)
	}
	defer tx.Rollback()
	var last sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT idx FROM fact WHERE idx > ? AND idx <= ? ORDER BY idx, n LIMIT 1 OFFSET ?)",
		int64(after), int64(min(upto, math.MaxInt64)), maxDigestFacts-1).Scan(&last); err != nil {
		return Digest{}, fmt.Errorf("digest of facts: %w", err)
	}
	if last.Valid {
		upto = uint64(last.Int64)
	}
	d := Digest{After: after, Upto: upto}
	sum := sha256.New()
	for i, t := range []table{factTable, callTable, legTable, spanTable} {
		n, err := digestTable(ctx, tx, sum, t, after, upto)
		if err != nil {
			return Digest{}, fmt.Errorf("digest of %s: %w", t.name, err)
		}
		if i == 0 {
			d.Facts = n
		} else {
			d.Records += n
		}
	}
	d.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return d, nil
}

// digestTable feeds the rows of a range to a hash, every value with its length.
func digestTable(ctx context.Context, tx *sql.Tx, sum hash.Hash, t table, after, upto uint64) (n int, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+t.list()+" FROM "+t.name+" WHERE idx > ? AND idx <= ? ORDER BY idx, n", int64(after), int64(upto))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	values := make([]sql.RawBytes, len(t.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	var buf []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return 0, err
		}
		buf = buf[:0]
		for _, v := range values {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(len(v)))
			buf = append(buf, v...)
		}
		sum.Write(buf)
		n++
	}
	return n, rows.Err()
}
