package facts

import (
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Pages go from router to router as CBOR (RFC 8949): a fact keeps all its bytes
// and the order of its attributes.
var (
	pageEncoding = must(cbor.CoreDetEncOptions().EncMode())
	pageDecoding = must(cbor.DecOptions{
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8DecodeInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxArrayElements: 1 << 20,
	}.DecMode())
)

// must is for options that are constants: they are right or no test passes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// maxPage bounds what a router takes from another, in bytes.
const maxPage = 64 << 20

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	if err := pageEncoding.NewEncoder(w).Encode(p); err != nil {
		return fmt.Errorf("write page of facts: %w", err)
	}
	return nil
}

// ReadPage is the inverse of Write.
func ReadPage(r io.Reader) (Page, error) {
	var p Page
	data, err := io.ReadAll(io.LimitReader(r, maxPage+1))
	if err == nil && len(data) > maxPage {
		err = errors.New("it is larger than 64 MiB")
	}
	if err == nil {
		err = pageDecoding.Unmarshal(data, &p)
	}
	if err != nil {
		return Page{}, fmt.Errorf("read page of facts: %w", err)
	}
	return p, nil
}
