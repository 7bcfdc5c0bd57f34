data "aws_iam_policy_document" "audit_trust" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:role/data/sinks"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = ["acme:ws/90c1"]
    }

    condition {
      test     = "StringLike"
      variable = "sts:RoleSessionName"
      values   = ["audit-*"]
    }
  }

  statement {
    sid     = "RoletapTags"
    effect  = "Allow"
    actions = ["sts:TagSession"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:role/data/sinks"]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"

      values = [
        "CostCenter",
        "Team",
      ]
    }
  }

  statement {
    sid     = "RoletapNamesItself"
    effect  = "Allow"
    actions = ["sts:SetSourceIdentity"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:role/data/sinks"]
    }
  }
}
