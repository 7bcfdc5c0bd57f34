// AWS SDK for Go v1: a session with the default credential chain, nothing configured but the endpoint of S3.
package main

import (
	"io"
	"strings"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/s3"
)

type v1 struct{ s3 *s3.S3 }

func newV1() (store, error) {
	configured, err := session.NewSession()
	if err != nil {
		return nil, err
	}
	return v1{s3.New(configured, &aws.Config{Endpoint: aws.String(endpoint), S3ForcePathStyle: aws.Bool(true)})}, nil
}

func (client v1) write(bucket, key, text string) error {
	_, err := client.s3.PutObject(&s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(text),
	})
	return err
}

func (client v1) read(bucket, key string) (string, error) {
	answer, err := client.s3.GetObject(&s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func main() {
	live("aws-sdk-go "+aws.SDKVersion, newV1)
}
