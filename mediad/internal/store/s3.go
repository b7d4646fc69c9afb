package store

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Config names a bucket.
type S3Config struct {
	Endpoint  *url.URL // scheme and host
	Region    string   // empty: the service is asked
	Bucket    string
	AccessKey string
	SecretKey string
	Roots     *x509.CertPool // nil: the system's
}

// S3 is a store in a bucket.
type S3 struct {
	client *minio.Client
	bucket string

	mu      sync.Mutex
	checked bool // the bucket is there and keeps no versions
}

// NewS3 returns the store in a bucket. It connects to nothing yet: a worker must
// start without its store.
func NewS3(cfg S3Config) (*S3, error) {
	transport, err := minio.DefaultTransport(cfg.Endpoint.Scheme == "https")
	if err != nil {
		return nil, fmt.Errorf("make S3 client: %w", err)
	}
	if cfg.Roots != nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots}
	}
	transport.ResponseHeaderTimeout = time.Minute
	c, err := minio.New(cfg.Endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure: cfg.Endpoint.Scheme == "https", Region: cfg.Region,
		Transport: http.RoundTripper(transport), MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("make S3 client: %w", err)
	}
	return &S3{client: c, bucket: cfg.Bucket}, nil
}

// check refuses a bucket that is not there or keeps versions, once it was asked.
func (s *S3) check(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.checked {
		return nil
	}
	v, err := s.client.GetBucketVersioning(ctx, s.bucket)
	if err != nil {
		return fmt.Errorf("ask for bucket %s: %w", s.bucket, err)
	}
	if v.Status != "" {
		return fmt.Errorf("bucket %s: %w", s.bucket, ErrVersions)
	}
	s.checked = true
	return nil
}

const sumKey = "Sha256"

// Put copies f, from its beginning, to name. Where the object is there already, as
// after a crash, it is compared and not sent again.
func (s *S3) Put(ctx context.Context, name string, f *os.File) error {
	if err := s.put(ctx, name, f); err != nil {
		return fmt.Errorf("put %s into bucket %s: %w", name, s.bucket, err)
	}
	return nil
}

func (s *S3) put(ctx context.Context, name string, f *os.File) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want, err := sumOf(f)
	if err != nil {
		return err
	}
	sum := hex.EncodeToString(want[:])
	there, err := s.client.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{})
	if err != nil && !absent(err) {
		return err
	}
	if err == nil && there.Size == info.Size() && there.UserMetadata[sumKey] == sum && s.compare(ctx, name, want) == nil {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// In one piece: parts of a try that died would be paid for until somebody looks.
	_, err = s.client.PutObject(ctx, s.bucket, name, io.NewSectionReader(f, 0, info.Size()), info.Size(), minio.PutObjectOptions{
		ContentType: "application/octet-stream", UserMetadata: map[string]string{sumKey: sum}, DisableMultipart: true})
	if err != nil {
		return err
	}
	return s.compare(ctx, name, want)
}

// compare reads an object back.
func (s *S3) compare(ctx context.Context, name string, want [sha256.Size]byte) error {
	o, err := s.client.GetObject(ctx, s.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer o.Close()
	got, err := sumOf(o)
	if err != nil {
		return err
	}
	if got != want {
		return ErrDiffers
	}
	return nil
}

func absent(err error) bool {
	switch minio.ToErrorResponse(err).Code {
	case "NoSuchKey", "NotFound":
		return true
	}
	return false
}

// Get writes an object to w, or returns fs.ErrNotExist.
func (s *S3) Get(ctx context.Context, name string, w io.Writer) error {
	if err := checkName(name); err != nil {
		return err
	}
	o, err := s.client.GetObject(ctx, s.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return fmt.Errorf("get %s from bucket %s: %w", name, s.bucket, err)
	}
	defer o.Close()
	if _, err := io.Copy(w, o); err != nil {
		if absent(err) {
			err = fs.ErrNotExist
		}
		return fmt.Errorf("get %s from bucket %s: %w", name, s.bucket, err)
	}
	return nil
}

// Has tells whether there is an object.
func (s *S3) Has(ctx context.Context, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	_, err := s.client.StatObject(ctx, s.bucket, name, minio.StatObjectOptions{})
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in bucket %s: %w", name, s.bucket, err)
	}
	return true, nil
}

// List returns the names that begin with prefix, sorted.
func (s *S3) List(ctx context.Context, prefix string) (names []string, err error) {
	ctx, cancel := context.WithCancel(ctx) // else the lister waits for us for ever
	defer cancel()
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", s.bucket, o.Err)
		}
		names = append(names, o.Key)
	}
	slices.Sort(names)
	return names, nil
}

// Delete removes an object; one that is not there is removed already.
func (s *S3) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{}); err != nil && !absent(err) {
		return fmt.Errorf("delete %s from bucket %s: %w", name, s.bucket, err)
	}
	return nil
}
