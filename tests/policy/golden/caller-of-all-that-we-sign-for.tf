data "aws_iam_policy_document" "hub_caller" {
  statement {
    sid       = "RoletapAssumes"
    effect    = "Allow"
    actions   = ["sts:AssumeRole"]
    resources = ["arn:aws:iam::777788889999:role/data/hub"]
  }

  statement {
    sid       = "RoletapTags"
    effect    = "Allow"
    actions   = ["sts:TagSession"]
    resources = ["arn:aws:iam::777788889999:role/data/hub"]
  }

  statement {
    sid       = "RoletapNamesItself"
    effect    = "Allow"
    actions   = ["sts:SetSourceIdentity"]
    resources = ["arn:aws:iam::777788889999:role/data/hub"]
  }
}
