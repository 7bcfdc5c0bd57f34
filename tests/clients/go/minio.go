// minio-go: its IAM provider, which is all that it has for roles; restic and many other tools are built on it.
package main

import (
	"context"
	"io"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// version is set when this is linked: minio-go does not tell its own.
var version string

type minioGo struct{ s3 *minio.Client }

func newMinio() (store, error) {
	address, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(address.Host, &minio.Options{
		Creds: credentials.NewIAM(""), Region: region, BucketLookup: minio.BucketLookupPath,
	})
	return minioGo{client}, err
}

func (client minioGo) write(bucket, key, text string) error {
	body := strings.NewReader(text)
	_, err := client.s3.PutObject(context.Background(), bucket, key, body, int64(len(text)), minio.PutObjectOptions{})
	return err
}

func (client minioGo) read(bucket, key string) (string, error) {
	object, err := client.s3.GetObject(context.Background(), bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer object.Close()
	text, err := io.ReadAll(object)
	return string(text), err
}

func main() {
	live("minio-go "+version, newMinio)
}
