// Reads an interval log with the Java HdrHistogram, and prints a line for each bucket that holds anything:
// tag, begin and end in milliseconds, the bucket's lowest value, how many values it holds.

import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramIterationValue;
import org.HdrHistogram.HistogramLogReader;

public class ReadLog {
    public static void main(String[] args) throws Exception {
        HistogramLogReader log = new HistogramLogReader(args[0]);
        Histogram read;
        while ((read = (Histogram) log.nextIntervalHistogram()) != null) {
            String interval = read.getTag() + "," + read.getStartTimeStamp() + "," + read.getEndTimeStamp();
            for (HistogramIterationValue value : read.recordedValues()) {
                long lowest = read.lowestEquivalentValue(value.getValueIteratedTo());
                System.out.println(interval + "," + lowest + "," + value.getCountAtValueIteratedTo());
            }
        }
    }
}
