data "aws_iam_policy_document" "leaf_trust" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::111122223333:role/spoke"]
    }
  }

  statement {
    sid     = "RoletapTags"
    effect  = "Allow"
    actions = ["sts:TagSession"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::111122223333:role/spoke"]
    }

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "aws:TagKeys"

      values = [
        "Stage",
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
      identifiers = ["arn:aws:iam::111122223333:role/spoke"]
    }
  }
}
