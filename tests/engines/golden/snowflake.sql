SELECT DATEDIFF(day, DATE '1970-01-01', CAST(CONVERT_TIMEZONE('UTC', %(local_day_1)s, orders.ordered_at) AS DATE)) AS day, DATEDIFF(day, DATE '1970-01-01', CAST(orders.ordered_at AS DATE)) AS utc_day, DATE_PART(epoch_second, orders.ordered_at) AS second, DATE_PART(epoch_microsecond, orders.ordered_at) AS microsecond, CAST(FLOOR(orders.amount_cents / NULLIF(100, 0)) AS BIGINT) AS whole, CAST(SUM(orders.amount_cents) AS BIGINT) AS cents, SUM(CAST(orders.amount_cents AS DOUBLE PRECISION)) AS sum, CAST(orders.amount_cents AS DOUBLE PRECISION) AS double, COUNT(*) AS n, TO_VARCHAR(GET(PARSE_JSON(events.properties), %(json_text_1)s)) AS plan, MOD(TO_NUMBER(SUBSTR(MD5(orders.order_id), 1, 8), 'XXXXXXXX'), 100) AS bucket, SUM(CAST(orders.amount_cents AS DOUBLE PRECISION) * CAST(orders.amount_cents AS DOUBLE PRECISION)) AS squares, ln(1.0 + CAST(orders.amount_cents AS DOUBLE PRECISION)) AS log 
FROM orders JOIN events ON events.order_id = orders.order_id 
WHERE orders.country IN (%(country_1_1)s, %(country_1_2)s) AND orders.kind = %(kind_1)s GROUP BY DATEDIFF(day, DATE '1970-01-01', CAST(CONVERT_TIMEZONE('UTC', %(local_day_1)s, orders.ordered_at) AS DATE)) ORDER BY day
 LIMIT %(param_1)s

SELECT o.country, COUNT(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY o.amount_cents) AS half 
FROM (SELECT orders.order_id AS order_id, orders.person_id AS person_id, orders.ordered_at AS ordered_at, orders.kind AS kind, orders.amount_cents AS amount_cents, orders.country AS country, orders.channel AS channel, orders.device AS device, orders.source AS source 
FROM orders) AS o 
WHERE o.amount_cents IS NOT NULL GROUP BY o.country ORDER BY o.country
