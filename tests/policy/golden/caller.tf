data "aws_iam_policy_document" "orders_caller" {
  statement {
    sid       = "RoletapAssumes"
    effect    = "Allow"
    actions   = ["sts:AssumeRole"]
    resources = ["arn:aws:iam::111122223333:role/orders-sink"]
  }
}
