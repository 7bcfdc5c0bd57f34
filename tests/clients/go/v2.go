// AWS SDK for Go v2: the default credential chain, nothing configured but the endpoint of S3.
package main

import (
	"context"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type v2 struct{ s3 *s3.Client }

func newV2() (store, error) {
	configuration, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, err
	}
	return v2{s3.NewFromConfig(configuration, func(options *s3.Options) {
		options.EndpointResolver = s3.EndpointResolverFromURL(endpoint)
		options.UsePathStyle = true
	})}, nil
}

func (client v2) write(bucket, key, text string) error {
	_, err := client.s3.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), Body: strings.NewReader(text),
	})
	return err
}

func (client v2) read(bucket, key string) (string, error) {
	answer, err := client.s3.GetObject(context.Background(), &s3.GetObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key),
	})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func main() {
	live("aws-sdk-go-v2 "+aws.SDKVersion, newV2)
}
