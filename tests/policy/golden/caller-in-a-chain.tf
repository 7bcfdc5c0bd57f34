data "aws_iam_policy_document" "leaf_caller" {
  statement {
    sid       = "RoletapAssumes"
    effect    = "Allow"
    actions   = ["sts:AssumeRole"]
    resources = ["arn:aws:iam::444455556666:role/leaf"]
  }

  statement {
    sid       = "RoletapTags"
    effect    = "Allow"
    actions   = ["sts:TagSession"]
    resources = ["arn:aws:iam::444455556666:role/leaf"]
  }

  statement {
    sid       = "RoletapNamesItself"
    effect    = "Allow"
    actions   = ["sts:SetSourceIdentity"]
    resources = ["arn:aws:iam::444455556666:role/leaf"]
  }
}
