locals {
  host = coalesce(var.domain_name, aws_lb.this.dns_name)
  size = {
    small  = { cpu = 512, memory = 1024, processes = 1 }
    medium = { cpu = 1024, memory = 2048, processes = 2 }
    large  = { cpu = 2048, memory = 4096, processes = 4 }
  }[var.task_size]

  common = {
    ALLOWED_HOSTS           = local.host
    AWS_REGION              = local.region
    BEHIND_TLS_PROXY        = tostring(var.certificate_arn != null)
    DATABASE_POOL_SIZE      = "5"
    DYNAMODB_EVENTS_TABLE   = var.events_table
    DYNAMODB_SESSIONS_TABLE = var.sessions_table
    ENVIRONMENT             = var.environment_name
    METRICS                 = "emf"
  }
  secrets = {
    DATABASE_URL = local.database_url_arn
    SECRET_KEY   = local.secret_key_arn
  }

  tasks = {
    serve = {
      image   = var.image
      cpu     = local.size.cpu
      memory  = local.size.memory
      secrets = local.secrets
      environment = {
        # The security group lets nobody but the load balancer in.
        FORWARDED_ALLOW_IPS = "*"
        # Less than stopTimeout.
        GRACEFUL_TIMEOUT = "25"
        MCP_AUTH         = var.mcp_auth
        MCP_SERVER       = var.mcp_server
        WEB_CONCURRENCY  = tostring(local.size.processes)
      }
      more = {
        portMappings = [{ containerPort = 8062, hostPort = 8062, protocol = "tcp" }]
        stopTimeout  = 30
        ulimits      = [{ name = "nofile", softLimit = 65535, hardLimit = 65535 }]
        # A task is healthy once it has reached the tables, and then for as long as its processes answer: a release that
        # cannot reach them replaces nothing, and DynamoDB's outage kills no task.
        healthCheck = {
          command = ["CMD", "python", "-I", "-c", <<-EOT
            import os, pathlib, urllib.request
            reached = pathlib.Path("/tmp/reached-the-tables")
            path = "/healthz" if reached.exists() else "/readyz"
            urllib.request.urlopen("http://127.0.0.1:" + os.environ.get("PORT", "8062") + path, timeout=4)
            reached.touch()
          EOT
          ]
          interval    = 10
          timeout     = 5
          retries     = 3
          startPeriod = 60
        }
      }
    }

    # Run as it is it migrates Django's database; overrides give it another command.
    operate = {
      image   = coalesce(var.operate_image, var.image)
      cpu     = 512
      memory  = 1024
      secrets = merge(local.secrets, { DJANGO_SUPERUSER_PASSWORD = aws_secretsmanager_secret.admin.arn })
      environment = {
        DJANGO_SUPERUSER_EMAIL    = "admin@example.com"
        DJANGO_SUPERUSER_USERNAME = "admin"
        MCP_AUTH                  = var.mcp_auth
        MCP_SERVER                = var.mcp_server
      }
      more = { command = ["python", "manage.py", "migrate", "--noinput"] }
    }

    scheduled = {
      image       = coalesce(var.operate_image, var.image)
      cpu         = 512
      memory      = 1024
      secrets     = local.secrets
      environment = {}
      more        = { command = ["python", "manage.py", "sessions_expire"] }
    }
  }

  containers = {
    for role, task in local.tasks : role => merge({
      name                   = "site"
      image                  = task.image
      essential              = true
      user                   = "1000:1000"
      readonlyRootFilesystem = true
      linuxParameters = {
        capabilities = { drop = ["ALL"] }
        tmpfs        = [{ containerPath = "/tmp", size = 64 }]
      }
      environment = [for name, value in merge(local.common, task.environment, var.environment) : { name = name, value = value }]
      secrets     = [for name, arn in task.secrets : { name = name, valueFrom = arn }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = local.region
          awslogs-stream-prefix = role
        }
      }
    }, task.more)
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_days
  tags              = var.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.tasks

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn
  container_definitions    = jsonencode([local.containers[each.key]])
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }
}

resource "aws_security_group" "tasks" {
  name_prefix = "${var.name}-tasks-"
  description = "The tasks, which the load balancer alone may call"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 8062
  to_port                      = 8062
  referenced_security_group_id = aws_security_group.load_balancer.id
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_endpoint" "dynamodb" {
  count = length(var.gateway_route_table_ids) > 0 ? 1 : 0

  vpc_endpoint_type = "Gateway"
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${local.region}.dynamodb"
  route_table_ids   = var.gateway_route_table_ids
  tags              = var.tags
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["serve"].arn
  launch_type                        = "FARGATE"
  desired_count                      = var.min_tasks
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  propagate_tags                     = "SERVICE"
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "site"
    container_port   = 8062
  }

  network_configuration {
    subnets          = var.task_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = var.assign_public_ip
  }

  lifecycle {
    # A release would set back what scaling has set.
    ignore_changes = [desired_count]
  }

  # The target group must have its listener first, and a task its permissions, secrets and tables.
  depends_on = [
    aws_dynamodb_table.events,
    aws_iam_role_policy_attachment.execution,
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_iam_role_policy.task,
    aws_iam_role_policy.secrets,
    aws_secretsmanager_secret_version.secret_key,
    aws_secretsmanager_secret_version.database_url,
  ]
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.target_cpu_percent
    scale_out_cooldown = 60
    # Whoever holds a stream of a task that goes has to connect again: not at each lull.
    scale_in_cooldown = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "open_streams" {
  name               = "open-streams"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.target_streams
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    # Each process sends its own number, so that the average halves as the processes double.
    customized_metric_specification {
      namespace   = "MCP/Sessions"
      metric_name = "OpenStreams"
      statistic   = "Average"
      unit        = "Count"

      dimensions {
        name  = "Environment"
        value = var.environment_name
      }
      dimensions {
        name  = "Table"
        value = var.sessions_table
      }
    }
  }
}
