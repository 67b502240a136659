# What each role may do is in policies.tf.json, from deploy/iam.
locals {
  trust = {
    for service in ["ecs-tasks", "scheduler"] : service => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Principal = { Service = "${service}.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      }]
    })
  }

  # The tasks that serve, that run a command once, and that run one on a schedule.
  task_policies = {
    serve     = concat(["serve"], var.staff_may == "serve" ? [] : ["read-only"], var.staff_may == "operate" ? ["operate"] : [])
    operate   = ["read-only", "operate"]
    scheduled = concat(["schedule"], var.backups ? ["backup"] : [])
  }
  attached = merge([
    for role, policies in local.task_policies : {
      for policy in concat(policies, var.tables_key_arn == null ? [] : ["kms-key"]) : "${role} ${policy}" => { role = role, policy = policy }
    }
  ]...)
}

resource "aws_iam_role" "task" {
  for_each = local.task_policies

  name_prefix        = "${var.name}-${each.key}-"
  assume_role_policy = local.trust["ecs-tasks"]
  tags               = var.tags
}

resource "aws_iam_role_policy" "task" {
  for_each = local.attached

  role   = aws_iam_role.task[each.value.role].name
  name   = each.value.policy
  policy = jsonencode(local.policies[each.value.policy])
}

# ECS itself, to start a task: the image, the log, the secrets.
resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = local.trust["ecs-tasks"]
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  role = aws_iam_role.execution.name
  name = "secrets"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = [local.secret_key_arn, aws_secretsmanager_secret.admin.arn, local.database_url_arn]
    }]
  })
}

# EventBridge Scheduler, to start the scheduled tasks.
resource "aws_iam_role" "scheduler" {
  name_prefix        = "${var.name}-scheduler-"
  assume_role_policy = local.trust["scheduler"]
  tags               = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  role = aws_iam_role.scheduler.name
  name = "run-the-scheduled-task"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "ecs:RunTask"
        Resource  = aws_ecs_task_definition.this["scheduled"].arn
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [aws_iam_role.execution.arn, aws_iam_role.task["scheduled"].arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]
  })
}
