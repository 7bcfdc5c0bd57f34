data "aws_iam_policy_document" "all_roles_caller" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    resources = [
      "arn:aws:iam::111122223333:role/orders-sink",
      "arn:aws:iam::111122223333:role/team/audit/audit-sink",
      "arn:aws:iam::444455556666:role/billing-export",
      "arn:aws:iam::777788889999:role/ours",
    ]
  }

  statement {
    sid       = "RoletapTags"
    effect    = "Allow"
    actions   = ["sts:TagSession"]
    resources = ["arn:aws:iam::111122223333:role/team/audit/audit-sink"]
  }

  statement {
    sid       = "RoletapNamesItself"
    effect    = "Allow"
    actions   = ["sts:SetSourceIdentity"]
    resources = ["arn:aws:iam::111122223333:role/team/audit/audit-sink"]
  }
}
