# A sink with roletap as a sidecar that is ready before the sink starts. Both tasks share the group's network namespace and
# the allocation's directory.
#   nomad job run orders-sink.nomad.hcl
job "orders-sink" {
  group "orders-sink" {
    network {
      mode = "bridge"
    }

    task "roletap" {
      driver = "docker"
      user   = "65532:65532"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image           = "roletap:0.1.0"
        args            = ["run", "--config", "/local/roletap.toml"]
        readonly_rootfs = true
        cap_drop        = ["all"]
      }

      template {
        destination   = "local/roletap.toml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<-TOML
          [server]
          token_dir = "/alloc/data/roletap-tokens"

          [sts]
          region = "eu-central-1"

          [role.orders]
          role_arn = "arn:aws:iam::111122223333:role/team/orders-sink"
          external_id = "ws-7f3a"
          role_session_name = "orders"
        TOML
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }

    task "sink" {
      driver = "docker"
      user   = "65532:65532"

      config {
        image = "sink:replace-me"
      }

      env {
        AWS_CONTAINER_CREDENTIALS_FULL_URI     = "http://127.0.0.1:5169/v1/credentials/orders"
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/alloc/data/roletap-tokens/orders"
        AWS_EC2_METADATA_DISABLED              = "true"
        NO_PROXY                               = "127.0.0.1"
      }
    }
  }
}
