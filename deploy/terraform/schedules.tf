locals {
  schedules = merge(local.upkeep, var.backups ? { backup = local.backup } : {})

  upkeep = {
    expire = {
      description = "Deletes idle and expired sessions, orphans and surplus events"
      expression  = "rate(1 hour)"
      minutes     = 15
      command     = ["python", "manage.py", "sessions_expire"]
    }
    status = {
      description = "Sends the age of the newest backups to CloudWatch"
      expression  = "rate(1 day)"
      minutes     = 60
      command     = ["python", "manage.py", "dynamodb_status", "--emf"]
    }
  }

  backup = {
    description = "Backs up both tables, and deletes the backups of older days"
    expression  = var.backup_schedule
    # At its time: a window could reach into the next day, which then would have no run of its own.
    minutes = null
    command = ["python", "manage.py", "dynamodb_backup", "daily", "--keep", tostring(var.backup_days)]
  }
}

resource "aws_scheduler_schedule" "this" {
  for_each = local.schedules

  name                = "${var.name}-${each.key}"
  description         = each.value.description
  schedule_expression = each.value.expression

  flexible_time_window {
    mode                      = each.value.minutes == null ? "OFF" : "FLEXIBLE"
    maximum_window_in_minutes = each.value.minutes
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn
    input    = jsonencode({ containerOverrides = [{ name = "site", command = each.value.command }] })

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this["scheduled"].arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = var.task_subnet_ids
        security_groups  = [aws_security_group.tasks.id]
        assign_public_ip = var.assign_public_ip
      }
    }

    retry_policy {
      maximum_retry_attempts       = 2
      maximum_event_age_in_seconds = 1800
    }
  }
}
